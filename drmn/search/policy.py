"""What to try next and when to stop trying it."""

import warnings
from collections import defaultdict
from dataclasses import dataclass, field

import optuna

from drmn.search.settings import PolicyConfig


def build_sampler(config: PolicyConfig, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """Return the sampler for trial `number`.

    Chance depends on the seed and the number alone, so a resumed study draws what an uninterrupted
    one would have drawn; one sampler for a whole study would begin again with its first points.
    """
    seed = 1_000_003 * seed + number
    if config.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=config.startup_trials,
            group=True,  # conditional spaces: each branch is modelled with its own parameters
            constant_liar=True,
        )


@dataclass
class Halving:
    """Asynchronous successive halving (Li et al., arXiv:1810.05934), the stopping variant.

    At each rung a trial goes on if its best value so far is in the top 1/factor of all that have
    reached the rung, itself included. The decision depends on the recorded values alone, so a
    resumed study rebuilds its rungs from the record.
    """

    first: int
    factor: int
    reached: dict[int, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    """Best value so far by rung and trial."""

    def stops(self, trial: int, epoch: int, best: float) -> bool:
        """Note that `trial` has come to `epoch`; return whether it is to stop there."""
        if not self.is_rung(epoch):
            return False
        rung = self.reached[epoch]
        rung[trial] = best
        better = sum(value > best for value in rung.values())
        return better >= max(1, len(rung) // self.factor)

    def is_rung(self, epoch: int) -> bool:
        """Return whether trials are compared after `epoch` epochs."""
        rung = self.first
        while rung < epoch:
            rung *= self.factor
        return rung == epoch

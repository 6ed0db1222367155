"""What to try next and when to stop trying it."""

import warnings
from collections import defaultdict
from dataclasses import dataclass, field

import optuna

from drmn.search.settings import PolicyConfig


def build_sampler(config: PolicyConfig, seed: int, done: int) -> optuna.samplers.BaseSampler:
    """Return the sampler for a study with `done` trials.

    A sampler made again with the same seed would repeat its first points, so a resumed study
    seeds it with the trials it has.
    """
    if config.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed + done)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed + done,
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

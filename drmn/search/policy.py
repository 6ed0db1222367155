"""What to try next and when to stop trying it."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

import optuna

from drmn.config import require, require_one_of

Sampler = Literal["tpe", "random"]
Pruner = Literal["halving", "none"]
Objective = Literal["val/H", "val/H_optimal", "val/AUSUC", "val/T1"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyConfig:
    """How the search chooses and stops trials."""

    objective: Objective = "val/H"
    """What a trial's value is: the best epoch's figure on validation."""
    sampler: Sampler = "tpe"
    startup_trials: int = 10
    """Random trials before the sampler follows its model."""
    pruner: Pruner = "halving"
    first_rung: int = 1
    """Epochs after which a trial may be stopped for the first time."""
    factor: int = 3
    """One trial in so many goes on from a rung to the next, which is so many times as far."""

    def __post_init__(self) -> None:
        """Check each value."""
        require_one_of("policy.objective", self.objective, Objective)
        require_one_of("policy.sampler", self.sampler, Sampler)
        require("policy.startup_trials", self.startup_trials, self.startup_trials >= 0, "0 or more")
        require_one_of("policy.pruner", self.pruner, Pruner)
        require("policy.first_rung", self.first_rung, self.first_rung > 0, "positive")
        require("policy.factor", self.factor, self.factor > 1, "at least 2")


def build_sampler(config: PolicyConfig, seed: int, done: int) -> optuna.samplers.BaseSampler:
    """Return the sampler for a study with `done` trials.

    A sampler made again with the same seed would repeat its first points, so a resumed study
    seeds it with the trials it has.
    """
    if config.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed + done)
    return optuna.samplers.TPESampler(
        seed=seed + done,
        n_startup_trials=config.startup_trials,
        group=True,  # conditional spaces: each branch is modelled with its own parameters
        constant_liar=True,
        warn_independent_sampling=False,
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

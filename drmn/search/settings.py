"""The settings of a search, apart from those of a run; no heavy library is imported for them."""

from dataclasses import dataclass
from typing import Literal

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What a search may spend, restarts included."""

    trials: int = 24
    """Trials in all, pruned and failed ones included."""
    minutes: float = 0.0
    """Of this start; no new trial after it. 0 for no limit."""
    at_once: int = 0
    """Trials at a time; 0 for as many as the cluster holds."""

    def __post_init__(self) -> None:
        """Check each value."""
        require("budget.trials", self.trials, self.trials > 0, "positive")
        require("budget.minutes", self.minutes, self.minutes >= 0, "0 or more")
        require("budget.at_once", self.at_once, self.at_once >= 0, "0 or more")

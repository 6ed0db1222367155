"""The settings of a search, apart from those of a run; no heavy library is imported for them."""

from dataclasses import dataclass
from typing import Literal

from drmn.fields import require, require_one_of

Sampler = Literal["tpe", "gp", "curve-gp", "random"]
Pruner = Literal["halving", "hyperband", "none"]
Objective = Literal[
    "val/H", "val/H_optimal", "val/AUSUC", "val/T1", "val/U", "val/S", "train/epoch"
]
Second = Literal[
    "", "val/H", "val/H_optimal", "val/AUSUC", "val/T1", "val/U", "val/S", "cost/worker_seconds"
]


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyConfig:
    """How the search chooses and stops trials."""

    objective: Objective = "val/H"
    """Metric that is maximised, at a trial's best epoch; train/epoch, which keeps the last epoch,
    is for refits alone."""
    second_objective: Second = ""
    """Another objective, at the same epoch: the search is then for settings that none beats in
    both, such as val/U and val/S, or val/H and cost/worker_seconds (of an epoch, to be small)."""
    sampler: Sampler = "curve-gp"
    """How trials are chosen: curve-gp, tpe, gp or random. curve-gp is a Gaussian process over
    settings and epochs that learns from running trials too (with two objectives, tpe is used); gp
    models final values only."""
    startup_trials: int = 6
    """Random trials, spread over the ranges, before the sampler follows its model."""
    pruner: Pruner = "halving"
    """How trials are stopped early: halving, hyperband or none. halving compares them at rungs;
    hyperband has the first rung in three places, for spaces whose early epochs say little."""
    first_rung: int = 3
    """Epochs after which a trial may be stopped for the first time."""
    last_rung: float = 0.5
    """Share of its epochs after which a trial is not stopped any more: what is left of a decayed
    learning rate costs little and may change the ranking."""
    factor: int = 3
    """One trial in so many continues to the next rung, which has so many times as many epochs."""
    window: int = 0
    """Choose and prune trial n by the results of trials up to n - window alone, so that a search is
    reproducible however many trials run in parallel (at most so many) and however long each takes;
    0 uses all results as they come, and waits for none."""
    finetune: int = 0
    """Best trials to train again with a fine-tuned backbone. They run once all others have ended,
    and are not counted by budget.trials."""

    def __post_init__(self) -> None:
        """Check each value."""
        require_one_of("policy.objective", self.objective, Objective)
        require_one_of("policy.sampler", self.sampler, Sampler)
        require("policy.startup_trials", self.startup_trials, self.startup_trials >= 0, "0 or more")
        require_one_of("policy.pruner", self.pruner, Pruner)
        require("policy.first_rung", self.first_rung, self.first_rung > 0, "positive")
        require("policy.last_rung", self.last_rung, 0 < self.last_rung <= 1, "in (0, 1]")
        require("policy.factor", self.factor, self.factor > 1, "at least 2")
        require("policy.window", self.window, self.window >= 0, "0 or more")
        require("policy.finetune", self.finetune, self.finetune >= 0, "0 or more")
        require_one_of("policy.second_objective", self.second_objective, Second)
        other = self.second_objective != self.objective
        require(
            "policy.second_objective", self.second_objective, other, "another than policy.objective"
        )
        # What is stopped for the one objective may be as good as any in the other.
        alone = not self.second_objective or self.pruner == "none"
        require("policy.pruner", self.pruner, alone, "none where policy.second_objective is set")

    def known(self, count: int) -> int:
        """Return how many of so many trials the next one may be chosen by."""
        return max(0, count + 1 - self.window) if self.window else count


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Budget of a search. All limits but `minutes` hold over all starts of a study."""

    trials: int = 24
    """Maximum number of trials, pruned and failed ones included."""
    epochs: int = 0
    """Epochs of all trials together; 0 for no limit."""
    worker_hours: float = 0.0
    """Maximum hours of training and validation of all workers. 0 for no limit."""
    money: float = 0.0
    """Maximum spend, in the currency of `price`. 0 for no limit."""
    price: float = 0.0
    """Cost of an hour of one trial, its cores and GPUs together, in any currency."""
    minutes: float = 0.0
    """Wall-clock limit of this invocation, in minutes. 0 for no limit."""
    least_gain: float = 0.0
    """End early once all trials that are left are expected to raise the objective by less than
    this, the error of that estimate included; such as 0.002. 0 never does."""
    checkpoint_mb: float = 0.0
    """Megabytes that the best epochs of all trials may take, the best trials' kept first; what was
    dropped is trained again from its settings if it is wanted. 0 for no limit."""
    model_mb: float = 512.0
    """Megabytes that the networks of all trials may take in MLflow, the worst left out first. The
    best one is there in any case, packed with its backbone, which the others refer to."""
    at_once: int = 0
    """Trials that run in parallel. 0 for as many as the cluster holds."""

    def __post_init__(self) -> None:
        """Check each value."""
        require("budget.trials", self.trials, self.trials > 0, "positive")
        spans = ("epochs", "worker_hours", "money", "price", "minutes", "least_gain")
        for name in (*spans, "checkpoint_mb", "model_mb"):
            value = getattr(self, name)
            require(f"budget.{name}", value, value >= 0, "0 or more")
        priced = not self.money or self.price > 0
        require("budget.price", self.price, priced, "positive where budget.money is set")
        require("budget.at_once", self.at_once, self.at_once >= 0, "0 or more")

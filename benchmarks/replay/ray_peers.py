"""Ray Tune's usual pair: OptunaSearch and ASHA, without a cluster."""

from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from replay.space import Params
from replay.table import Table

VALUE, EPOCH = "value", "training_iteration"


@dataclass(frozen=True, slots=True)
class Shown:
    """Of a trial of Ray's what its ASHA looks at."""

    trial_id: str


class Ray:
    """Ray's search algorithm and scheduler, given what its controller gives them, and when."""

    def __init__(self, table: Table, seed: int) -> None:
        def space(trial: Any) -> None:
            table.grid.space(trial)

        last = int(table.curves(seed).epochs[-1])
        self.search = OptunaSearch(space, metric=VALUE, mode="max", seed=seed)
        self.scheduler = AsyncHyperBandScheduler(
            EPOCH, VALUE, "max", max_t=last, grace_period=1, reduction_factor=3
        )
        self.last, self.count = last, 0

    def ask(self) -> Params | None:
        """Ask the search algorithm."""
        name = str(self.count)
        params: Params = self.search.suggest(name)
        self.scheduler.on_trial_add(None, Shown(name))
        self.count += 1
        return params

    def tell(self, number: int, epoch: int, value: float) -> bool:
        """Tell the scheduler, and the search algorithm as the controller does: ends otherwise."""
        trial, result = Shown(str(number)), {VALUE: value, EPOCH: epoch}
        decision = self.scheduler.on_trial_result(None, trial, result)
        ends: bool = decision == TrialScheduler.STOP or epoch == self.last
        if ends:
            self.scheduler.on_trial_complete(None, trial, result)
            self.search.on_trial_complete(trial.trial_id, result)
        else:
            self.search.on_trial_result(trial.trial_id, result)
        return ends

    def done(self, number: int) -> None:
        """Do nothing: it was given the result before."""

"""Syne Tune's ASHA and BOHB, driven as its tuner drives them."""

from datetime import datetime
from typing import Any

import numpy as np
from syne_tune import config_space
from syne_tune.backend.trial_status import Trial
from syne_tune.optimizer.baselines import ASHA, BOHB
from syne_tune.optimizer.scheduler import SchedulerDecision

from replay.space import Axis, Params
from replay.table import Table

VALUE, EPOCH = "value", "epoch"
MADE = datetime(2026, 1, 1)  # noqa: DTZ001 - as Syne Tune has it; nothing depends on it


def domain(axis: Axis) -> Any:
    """Return an axis as Syne Tune has it.

    Numbers are a continuous range around their ranks: its density model takes an ordinal for
    words without an order, and rounds whole numbers out of their range.
    """
    if axis.words:
        return config_space.choice([str(level) for level in axis.levels])
    return config_space.uniform(-0.5, axis.last + 0.5)


class Syne:
    """A scheduler of Syne Tune's.

    Args:
        table: What to search.
        seed: Of the scheduler; and of NumPy's global generator, from which it draws as well.
        model: Whether its density model chooses (BOHB), or chance (ASHA).
    """

    def __init__(self, table: Table, seed: int, *, model: bool = False) -> None:
        np.random.seed(seed)  # noqa: NPY002 - Syne Tune draws from it
        self.axes = table.grid.axes
        self.scheduler = (BOHB if model else ASHA)(
            {axis.name: domain(axis) for axis in self.axes},
            metric=VALUE,
            time_attr=EPOCH,
            max_t=int(table.curves(seed).epochs[-1]),
            do_minimize=False,
            random_seed=seed,
        )
        self.trials: list[Trial] = []

    def ask(self) -> Params | None:
        """Ask the scheduler."""
        suggestion = self.scheduler.suggest()
        if suggestion is None:
            return None
        trial = Trial(len(self.trials), suggestion.config, MADE)
        self.trials.append(trial)
        self.scheduler.on_trial_add(trial)
        return {axis.name: self._asked(axis, trial.config[axis.name]) for axis in self.axes}

    def tell(self, number: int, epoch: int, value: float) -> bool:
        """Tell the scheduler."""
        result = {VALUE: value, EPOCH: epoch}
        stop: bool = (
            self.scheduler.on_trial_result(self.trials[number], result) == SchedulerDecision.STOP
        )
        return stop

    def done(self, number: int) -> None:
        """Let the scheduler forget the trial."""
        self.scheduler.on_trial_remove(self.trials[number])

    @staticmethod
    def _asked(axis: Axis, value: Any) -> Any:
        if axis.words:
            return value
        if axis.few:
            return min(max(round(value), 0), axis.last)
        return min(max(value / axis.last, 0.0), 1.0)

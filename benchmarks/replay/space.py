"""The space of a table: what a policy is asked to choose, and which recorded point that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drmn.space import Trial

FEW = 32
"""Numbers with so many distinct values or fewer are asked for one by one."""
Params = Mapping[str, Any]
"""A point as a policy has it: ranks of numbers, words as they are."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A hyperparameter: its name, and its distinct values in order."""

    name: str
    levels: tuple[Any, ...]

    @property
    def words(self) -> bool:
        """Whether values are the same or not, and no more than that."""
        return isinstance(self.levels[0], str | bool)

    @property
    def few(self) -> bool:
        """Whether each value is one to choose; otherwise all between them are too."""
        return len(self.levels) <= FEW

    @property
    def last(self) -> int:
        """The highest rank."""
        return len(self.levels) - 1

    def suggest(self, trial: Trial) -> Any:
        """Ask for a value.

        By rank, as tables seldom say whether a hyperparameter is to be seen on a logarithmic
        scale, and what was recorded tells where its author thought that values differ.
        """
        if self.words:
            return trial.suggest_categorical(self.name, [str(level) for level in self.levels])
        if self.few:
            return trial.suggest_int(self.name, 0, self.last)
        return trial.suggest_float(self.name, 0.0, 1.0)

    def asked(self, value: Any) -> Any:
        """Return a recorded value as it would have been asked for."""
        rank = self.levels.index(value)
        if self.words:
            return str(value)
        return rank if self.few else rank / self.last

    def place(self, asked: Any) -> float:
        """Return where a value that was asked for lies, from 0 to 1; a word's number if words."""
        if self.words:
            return [str(level) for level in self.levels].index(asked)
        return asked / self.last if self.few else float(asked)


class Grid:
    """The recorded points, by what a policy would have chosen; they need not be a full grid.

    Args:
        columns: The values of each hyperparameter, a value a point. One that never changes is
            left out.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        distinct = {name: tuple(sorted(set(values))) for name, values in columns.items()}
        self.axes = [Axis(name, levels) for name, levels in distinct.items() if len(levels) > 1]
        count = len(next(iter(columns.values())))
        self.points: list[Params] = [
            {axis.name: axis.asked(columns[axis.name][i]) for axis in self.axes}
            for i in range(count)
        ]
        self.places = np.array([self._place(point) for point in self.points])  # [point, axis]
        self.words = np.array([axis.words for axis in self.axes])

    def space(self, trial: Trial) -> dict[str, Any]:
        """Ask a trial for a point; a space as in search_spaces."""
        for axis in self.axes:
            axis.suggest(trial)
        return {}

    def nearest(self, params: Params) -> int:
        """Return the number of the recorded point that is nearest; of equals the first.

        Distances are Euclidean in normalised ranks; two different words are 1 apart.
        """
        apart = self.places - self._place(params)
        apart[:, self.words] = apart[:, self.words] != 0
        return int((apart**2).sum(axis=1).argmin())

    def _place(self, params: Params) -> list[float]:
        return [axis.place(params[axis.name]) for axis in self.axes]

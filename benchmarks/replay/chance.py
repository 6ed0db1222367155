"""Peers that choose by chance."""

from collections import defaultdict

import numpy as np

from replay.space import Params
from replay.table import Table


class Chance:
    """Random search: the recorded points in random order, each once, none stopped."""

    def __init__(self, table: Table, seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(table.grid.points))
        self.left = [table.grid.points[i] for i in order]

    def ask(self) -> Params | None:
        """Return a point that was not asked for before; None when there is none."""
        return self.left.pop() if self.left else None

    def tell(self, number: int, epoch: int, value: float) -> bool:
        """Never stop."""
        del number, epoch, value
        return False

    def done(self, number: int) -> None:
        """Do nothing."""


class ChanceHalved(Chance):
    """Random search with asynchronous successive halving, the stopping variant.

    A trial goes on from epoch 1, 3, 9, ... if it is in the top third of those that came so far.
    """

    def __init__(self, table: Table, seed: int, factor: int = 3) -> None:
        super().__init__(table, seed)
        self.factor = factor
        self.rungs: defaultdict[int, list[float]] = defaultdict(list)
        self.bests: dict[int, float] = {}
        rungs = [factor**power for power in range(20)]
        epochs = table.curves(seed).epochs
        self.is_rung = {int(e) for r in rungs for e in epochs[epochs >= r][:1]}
        """The first recorded epoch at or after each rung: tables may have gaps."""

    def tell(self, number: int, epoch: int, value: float) -> bool:
        """Compare at the rungs."""
        best = self.bests[number] = max(value, self.bests.get(number, value))
        if epoch not in self.is_rung:
            return False
        rung = self.rungs[epoch]
        rung.append(best)
        return sum(other > best for other in rung) >= max(1, len(rung) // self.factor)


class ChanceTop(Chance):
    """Random search in which all but the top few stop after the first epoch."""

    def __init__(self, table: Table, seed: int, keep: int = 3) -> None:
        super().__init__(table, seed)
        self.keep = keep
        self.first = int(table.curves(seed).epochs[0])
        self.seen: list[float] = []

    def tell(self, number: int, epoch: int, value: float) -> bool:
        """Stop after the first epoch unless so few have been better there so far."""
        del number
        if epoch != self.first:
            return False
        self.seen.append(value)
        return sum(other > value for other in self.seen) >= self.keep

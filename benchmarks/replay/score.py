"""What replays come to: how soon a policy was at the top, and how far from it at each budget.

The top 1 % is reached when an epoch's value is first as high as the best epoch of the point that
1 % of the points match or beat (5 of 576; one at least). Regret is the highest best epoch of the
table less the highest value seen so far; before the first epoch the table's lowest value counts as
seen. Both look at what has been seen, as the incumbent is known by no more than that. Worker-
seconds are the time that has passed times the number of workers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from replay.clock import Limits, replay
from replay.policies import OURS, make
from replay.table import Curves, load

SHARES = (1 / 64, 1 / 32, 1 / 16, 1 / 8)
"""The four budgets, of what training each point of the table once takes."""
TOPS = {"1 %": 0.01, "5 %": 0.05}


@dataclass(frozen=True, slots=True)
class Task:
    """One replay; small, as it is sent to a process."""

    folder: Path
    table: str
    objective: str
    policy: str
    workers: int
    seed: int
    start: float
    """Of a trial, in epochs of the table's mean duration."""
    cap: float
    """The most to spend, as a share of what training each point of the table once takes."""


@dataclass(frozen=True, slots=True)
class Score:
    """What one replay came to."""

    seconds: Mapping[str, float]
    """Worker-seconds to each of `TOPS`; those of the whole budget if it was not reached."""
    epochs: Mapping[str, int]
    reached: Mapping[str, bool]
    regrets: Sequence[float]
    """At each of `SHARES`, as a part of the distance from the table's median to its best."""


def score(task: Task) -> Score:
    """Replay."""
    table = load(task.folder, task.table, task.objective)
    curves = table.curves(task.seed)
    start = task.start * curves.epoch_seconds
    whole = curves.seconds(start)
    budgets = [share * whole for share in SHARES]
    goal, most = curves.top(TOPS["1 %"]), task.cap * whole
    limits = Limits(task.workers, start, min(budgets[-1], most), most, goal)
    trace = replay(make(task.policy, table, task.seed), table.grid, curves, limits)
    found = {name: trace.first(curves.top(share)) for name, share in TOPS.items()}
    return Score(
        {name: each[0] if each else most for name, each in found.items()},
        {name: each[1] if each else _epochs(curves, most, start) for name, each in found.items()},
        {name: each is not None for name, each in found.items()},
        [_regret(curves, trace.best(budget, curves.values.min())) for budget in budgets],
    )


def _epochs(curves: Curves, seconds: float, start: float) -> int:
    """Return how many epochs whole trainings come to in so many worker-seconds."""
    return int(seconds / curves.seconds(start) * curves.values.size)


def _regret(curves: Curves, seen: float) -> float:
    best = curves.bests.max()
    return float((best - seen) / (best - np.median(curves.bests)))


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error, which is 0 where there is one value."""
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return float(np.mean(values)), float(error)


@dataclass(frozen=True, slots=True)
class Row:
    """A policy's replays on one table with so many workers."""

    policy: str
    scores: Sequence[Score]

    def seconds(self, top: str) -> tuple[float, float]:
        """Return the worker-seconds to the top, mean and standard error."""
        return mean_and_error([each.seconds[top] for each in self.scores])

    def epochs(self, top: str) -> tuple[float, float]:
        """Return the worker-epochs to the top, mean and standard error."""
        return mean_and_error([each.epochs[top] for each in self.scores])

    def missed(self, top: str) -> int:
        """Return how many replays never came to the top."""
        return sum(not each.reached[top] for each in self.scores)

    def regret(self, budget: int) -> tuple[float, float]:
        """Return the regret at one of `SHARES`, mean and standard error."""
        return mean_and_error([each.regrets[budget] for each in self.scores])


def excess(ours: Row, peers: Sequence[Row], budget: int) -> float:
    """Return by how many standard errors of the difference our regret is above the best peer's."""
    here, error = ours.regret(budget)
    best, other = min(peer.regret(budget) for peer in peers)
    if here == best:
        return 0.0
    return (here - best) / max((error**2 + other**2) ** 0.5, 1e-12)


def is_ours(policy: str) -> bool:
    """Return whether it is ours, with whatever settings."""
    return policy.partition(":")[0] == OURS

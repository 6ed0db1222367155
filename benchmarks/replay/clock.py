"""Virtual time: workers that train what a policy asks for, as long as the table says."""

import bisect
import heapq
import itertools
from dataclasses import dataclass, field
from typing import Protocol

from replay.space import Grid, Params
from replay.table import Curves


class Policy(Protocol):
    """What is replayed. Trials are numbered from 0 in the order they are asked for."""

    def ask(self) -> Params | None:
        """Return the next trial's point; None to wait until something has been reported."""

    def tell(self, number: int, epoch: int, value: float) -> bool:
        """Note how an epoch came out; return whether the trial is to stop."""

    def done(self, number: int) -> None:
        """Note that a trial has ended: stopped, or after the last epoch."""


@dataclass
class Trace:
    """The highest value so far, each time that it rose."""

    seconds: list[float] = field(default_factory=list)
    """Worker-seconds: the time times the number of workers, so idle ones count."""
    epochs: list[int] = field(default_factory=list)
    """Epochs that had ended by then, of all trials."""
    bests: list[float] = field(default_factory=list)

    def note(self, seconds: float, epochs: int, value: float) -> None:
        """Note an epoch's value."""
        if not self.bests or value > self.bests[-1]:
            self.seconds.append(seconds)
            self.epochs.append(epochs)
            self.bests.append(value)

    def first(self, value: float) -> tuple[float, int] | None:
        """Return the worker-seconds and epochs until a value was first seen, or a better one."""
        index = bisect.bisect_left(self.bests, value)
        return None if index == len(self.bests) else (self.seconds[index], self.epochs[index])

    def best(self, seconds: float, unseen: float) -> float:
        """Return the highest value seen by then; `unseen` if none was."""
        index = bisect.bisect_right(self.seconds, seconds)
        return self.bests[index - 1] if index else unseen


@dataclass(frozen=True, slots=True)
class Limits:
    """What a replay may spend, in worker-seconds."""

    workers: int
    start: float
    """Seconds before a trial's first epoch: its process, its data."""
    least: float
    """No replay ends before."""
    most: float
    goal: float
    """A value that ends the replay once `least` is spent."""


def replay(policy: Policy, grid: Grid, curves: Curves, limits: Limits) -> Trace:
    """Run a policy on a table and return what it found when.

    A worker that is free asks at once, and again whenever an epoch ends if it was to wait.
    All policies pay the same start cost; what they need to think is not in the clock.
    """
    trace, seen = Trace(), 0
    events: list[tuple[float, int, int, int]] = []  # end, order, trial, index of the epoch
    order, numbers = itertools.count(), itertools.count()
    points: dict[int, int] = {}
    free, now = limits.workers, 0.0
    while True:
        while free and (params := policy.ask()) is not None:
            number = next(numbers)
            points[number] = grid.nearest(params)
            end = now + limits.start + float(curves.ends[points[number], 0])
            heapq.heappush(events, (end, next(order), number, 0))
            free -= 1
        if not events:
            return trace
        now, _, number, index = heapq.heappop(events)
        spent, point = now * limits.workers, points[number]
        met = bool(trace.bests) and trace.bests[-1] >= limits.goal
        if spent > limits.most or (met and spent > limits.least):
            return trace
        seen += 1
        value = float(curves.values[point, index])
        trace.note(spent, seen, value)
        stopped = policy.tell(number, int(curves.epochs[index]), value)
        if stopped or index + 1 == len(curves.epochs):
            policy.done(number)
            free += 1
        else:
            took = float(curves.ends[point, index + 1] - curves.ends[point, index])
            heapq.heappush(events, (now + took, next(order), number, index + 1))

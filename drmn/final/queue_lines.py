"""A line a trial on the terminal, for a study of enqueued trials."""

import time
from collections.abc import Sequence

from rich.console import Console

from drmn.search.callbacks.base import Callback
from drmn.search.trial_summary import TrialSummary
from drmn.units import duration


class QueueLines(Callback):
    """Prints each trial that ends, with the time that is left.

    Args:
        console: Where to print.
        names: What each trial of the queue is, in words.
        objective: The metric that is shown; none if it is empty.
        done: Trials that were over before.
    """

    def __init__(
        self, console: Console, names: Sequence[str], objective: str = "", done: int = 0
    ) -> None:
        self.console, self.names, self.objective = console, names, objective
        self.done, self.earlier, self.begin = done, done, time.monotonic()

    def on_trial_end(self, row: TrialSummary) -> None:
        """Print a trial that is over."""
        self.done += 1
        each = (time.monotonic() - self.begin) / (self.done - self.earlier)
        more = len(self.names) - self.done
        left = f", about {duration(each * more)} left" if more > 0 else ""
        value = f", {self.objective} {100 * (row.value or 0.0):.1f}" if self.objective else ""
        failed = f" failed: {row.cause}" if row.state == "FAIL" else value
        line = f"{self.names[row.number]}{failed}, {self.done} of {len(self.names)} done{left}"
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

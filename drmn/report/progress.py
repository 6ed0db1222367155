"""Progress of a piece of work: a bar on a terminal, a few plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft
from rich.text import Text

from drmn.io.progress import Progress as Heard
from drmn.io.progress import StartProgress

QUIET = 3.0
"""Seconds of work before a line is printed where there is no bar."""


class _Rate(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f}/s" if task.speed else "")


@contextmanager
def progress(console: Console) -> Iterator[StartProgress]:
    """Yield a function that starts the progress of some work, by its name."""
    if not console.is_terminal:
        yield lambda work: _Lines(console, work)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
    with Progress(*columns, TimeLeft(), console=console, transient=True) as bars:

        def start(work: str) -> Heard:
            tasks: list[TaskID] = []  # none before the first report: all may be cached

            def hear(done: int, total: int) -> None:
                if not tasks:
                    tasks.append(bars.add_task(work))
                bars.update(tasks[0], completed=done, total=total)

            return hear

        yield start


@dataclass
class _Lines:
    """Prints the progress at each fifth, once the work has taken a while."""

    console: Console
    work: str
    began: float = field(default_factory=time.monotonic)
    before: int = -1
    """Items done at the first report: cached ones do not count for the rate."""
    said: int = 0

    def __call__(self, done: int, total: int) -> None:
        if self.before < 0:
            self.before, self.began = done, time.monotonic()
        seconds = time.monotonic() - self.began
        if seconds < QUIET or 5 * done // total <= self.said:
            return
        self.said = 5 * done // total
        rate = (done - self.before) / seconds
        left = "" if done == total else f", {(total - done) / rate:.0f} s left"
        self.console.print(
            f"{self.work}: {done:,} of {total:,}, {rate:.1f}/s{left}", highlight=False
        )

"""Progress of a running search: a live table on a terminal, plain lines elsewhere."""

import time
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from drmn.metric_names import Metrics
from drmn.search.callbacks.base import Callback
from drmn.search.study_totals import StudyTotals
from drmn.search.trial_summary import TrialSpec, TrialSummary
from drmn.units import duration


@dataclass
class RunningTrial:
    """A running trial."""

    epochs: int
    """Maximum number of epochs."""
    epoch: int = 0
    best: float = 0.0


@dataclass
class TerminalProgress(Callback):
    """Shows the progress of a search.

    Args:
        console: Where to print.
        study: Name of the study.
        target: Number of trials to run.
        objective: The metric that is shown.
        rival: Name of the baseline that the best trial should beat.
        line: H of that baseline.
        earlier: Trials that the record had before.
    """

    console: Console
    study: str
    target: int
    objective: str
    rival: str
    line: float
    earlier: list[TrialSummary] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Count the earlier trials."""
        self.running: dict[int, RunningTrial] = {}
        self.totals = StudyTotals(row for row in self.earlier if row.state != "RUNNING")
        self.done_before, self.begin = self.done, time.monotonic()
        self.live: Live | None = None

    @property
    def done(self) -> int:
        """Trials that are over."""
        return self.totals.finished

    def __enter__(self) -> "TerminalProgress":  # noqa: PYI034 - beartype, in tests, refuses Self
        """Start the live table."""
        if self.console.is_terminal:
            self.live = Live(self._view(), console=self.console, refresh_per_second=4)
            self.live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        """Leave the last view on the screen."""
        if self.live is not None:
            self.live.update(self._view())
            self.live.__exit__(None, None, None)

    def on_trial_start(self, point: TrialSpec) -> None:
        """Show a trial from now on."""
        self.running[point.number] = RunningTrial(point.config.optim.epochs)
        self._refresh()

    def on_epoch_end(self, number: int, epoch: int, metrics: Metrics) -> None:
        """Show how far a trial is."""
        trial = self.running[number]
        trial.epoch, trial.best = epoch, max(trial.best, metrics.get(self.objective, 0.0))
        self._refresh()

    def on_trial_end(self, row: TrialSummary) -> None:
        """Count a trial that is over."""
        self.running.pop(row.number, None)
        self.totals.add(row)
        self._refresh()
        if self.live is None:
            value = "" if row.value is None else f"{self.objective} {100 * row.value:.1f}, "
            why = f" ({row.cause})" if row.cause else ""
            self.console.print(
                f"trial {row.number}: {row.state.lower()} at epoch {row.epochs}, {value}"
                f"{self.done} of {self.target} done{self._left()}{why}",
                highlight=False,
                soft_wrap=True,
            )

    def _refresh(self) -> None:
        if self.live is not None:
            self.live.update(self._view())

    def _left(self) -> str:
        finished = self.done - self.done_before
        remaining = self.target - self.done
        if not finished or remaining <= 0:
            return ""
        seconds = (time.monotonic() - self.begin) / finished * remaining
        return f", about {duration(seconds)} left"

    def _view(self) -> Group:
        counts, leader = self.totals.counts or "none yet", self.totals.best
        head = f"{self.study}: {self.done} of {self.target} trials done ({counts})"
        best = "no complete trial yet"
        if leader is not None:
            figure = f"{_percent(leader.value)} ± {_percent(leader.metrics['val/H_se'])}"
            best = f"best {self.objective} {figure} (trial {leader.number})"
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("running", "epoch", f"best {self.objective}"):
            table.add_column(column, justify="right")
        for number, trial in sorted(self.running.items()):
            value = _percent(trial.best) if trial.epoch else "-"
            table.add_row(f"trial {number}", f"{trial.epoch}/{trial.epochs}", value)
        beaten = f"{best}; to beat: {self.rival} {_percent(self.line)}"
        return Group(Text(head + self._left()), Text(beaten), table)


def _percent(value: float | None) -> str:
    return f"{100 * (value or 0.0):.1f}"

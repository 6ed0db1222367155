"""Callbacks of a search: who watches its trials."""

from typing import Protocol

from drmn.metric_names import Metrics
from drmn.search.trial_summary import TrialSpec, TrialSummary


class FigureRefresher(Protocol):
    """Draws the figures of a study while it goes on; it watches trials as others do."""

    def on_trial_start(self, point: TrialSpec) -> None:
        """Hear of a trial that starts."""

    def on_epoch_end(self, number: int, epoch: int, metrics: Metrics) -> None:
        """Hear of an epoch."""

    def on_trial_end(self, row: TrialSummary) -> None:
        """Hear of a trial's end."""

    def on_study_end(self) -> None:
        """Draw all, for the last time."""


class Callback(Protocol):
    """Somebody who wants to know how the search goes; it must not take long to hear it."""

    def on_trial_start(self, point: TrialSpec) -> None:
        """A trial starts, or goes on after it lost its process."""

    def on_epoch_end(self, number: int, epoch: int, metrics: Metrics) -> None:
        """A trial has come to the end of an epoch."""

    def on_trial_end(self, row: TrialSummary) -> None:
        """A trial is complete, pruned or failed."""

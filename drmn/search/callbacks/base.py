"""Callbacks of a search: who watches its trials."""

from typing import Protocol

from drmn.metric_names import Metrics
from drmn.search.trial_summary import Point, Row


class Artist(Protocol):
    """Draws the figures of a study while it goes on; it watches trials as others do."""

    def started(self, point: Point) -> None:
        """Hear of a trial that starts."""

    def epoch(self, number: int, epoch: int, metrics: Metrics) -> None:
        """Hear of an epoch."""

    def ended(self, row: Row) -> None:
        """Hear of a trial's end."""

    def finish(self) -> None:
        """Draw all, for the last time."""


class Watcher(Protocol):
    """Somebody who wants to know how the search goes; it must not take long to hear it."""

    def started(self, point: Point) -> None:
        """A trial starts, or goes on after it lost its process."""

    def epoch(self, number: int, epoch: int, metrics: Metrics) -> None:
        """A trial has come to the end of an epoch."""

    def ended(self, row: Row) -> None:
        """A trial is complete, pruned or failed."""

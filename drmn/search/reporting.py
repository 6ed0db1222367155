"""What happens in a search, told to the spool for MLflow."""

from collections.abc import Mapping
from typing import Any

from drmn.config import flatten
from drmn.search.study import Metrics, Point, Record, Row, epochs
from drmn.tracking import events
from drmn.tracking.spool import Spool


class Reporter:
    """Watches a search of the study `name` and puts all of it into `spool`."""

    def __init__(self, spool: Spool, name: str) -> None:
        self.spool, self.name = spool, name

    def study(self, experiment: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Tell that the study begins or goes on."""
        self.spool.put(*events.study(self.name, experiment, params, tags))

    def baseline(self, metrics: Metrics, params: Mapping[str, Any]) -> None:
        """Tell the line that DRMN must beat, as a run beside the trials."""
        run, event = events.child(
            self.name, "eszsl", "ESZSL (baseline)", params, {"kind": "baseline"}
        )
        self.spool.put(run, event)
        self.spool.put(*events.metrics(run, metrics, 0))
        self.spool.put(*events.end(run, {}))

    def replay(self, record: Record) -> None:
        """Tell all that the record holds; what was told before is not told twice."""
        for row in record.rows():
            self.started(record.point(row.number))
            for epoch, metrics in sorted(epochs(record.trial(row.number)).items()):
                self.epoch(row.number, epoch, metrics)
            if row.state != "RUNNING":
                self.ended(row)

    def started(self, point: Point) -> None:
        """Tell that a trial starts."""
        name = f"{self.name}/{point.number:03d}"
        tags = {"kind": "trial", "state": "RUNNING"}
        self.spool.put(
            *events.child(self.name, _label(point.number), name, flatten(point.config), tags)
        )

    def epoch(self, number: int, epoch: int, metrics: Metrics) -> None:
        """Tell an epoch's metrics."""
        self.spool.put(*events.metrics(self._run(number), metrics, epoch))

    def ended(self, row: Row) -> None:
        """Tell a trial's end; a pruned one is FINISHED, for KILLED looks like a failure.

        MLflow shows a metric's last value, so the best epoch's are told once more after the last.
        """
        run = self._run(row.number)
        if row.metrics:
            self.spool.put(*events.metrics(run, row.metrics, row.epochs + 1))
        tags = {"state": row.state, "cause": row.cause, "best_epoch": str(row.best_epoch)}
        self.spool.put(*events.end(run, tags, failed=row.state == "FAIL"))

    def best(self, row: Row, folder: str, done: int) -> None:
        """Tell the study's best trial, and its model packed in `folder`."""
        self.spool.put(*events.metrics(self.name, row.metrics, done))
        self.spool.put(*events.model(self._run(row.number), folder))
        self.spool.put(*events.end(self.name, {"best_trial": str(row.number)}, serial=done))

    def _run(self, number: int) -> str:
        return f"{self.name}/{_label(number)}"


def _label(number: int) -> str:
    return f"{number:04d}"

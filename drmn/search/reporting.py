"""What happens in a search, told to the spool for MLflow."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from drmn.config import flatten
from drmn.search.study import Metrics, Point, Record, Row, epochs
from drmn.tracking import events
from drmn.tracking.spool import Spool


class Reporter:
    """Watches a search of the study `name` and puts all of it into `spool`."""

    def __init__(self, spool: Spool, name: str, record: Record) -> None:
        self.spool, self.name, self.record = spool, name, record

    def study(self, experiment: str, params: Mapping[str, Any], about: str) -> None:
        """Tell that the study begins; `about` is shown on its page."""
        tags = {"kind": "study", "mlflow.note.content": about}
        self.spool.put(*events.study(self.name, experiment, params, tags))

    def baseline(self, metrics: Metrics, params: Mapping[str, Any]) -> None:
        """Tell the line that DRMN must beat, as a run beside the trials."""
        name, tags = "ESZSL (baseline)", {"kind": "baseline", "state": "COMPLETE"}
        run, event = events.child(self.name, "eszsl", name, params, tags)
        self.spool.put(run, event)
        self.spool.put(*events.metrics(run, best_of(metrics), 0))
        self.spool.put(*events.end(run, {}))

    def replay(self) -> None:
        """Tell all that the record holds; what was told before is not told twice."""
        for row in self.record.rows():
            self.started(self.record.point(row.number))
            for epoch, metrics in sorted(epochs(self.record.trial(row.number)).items()):
                self.epoch(row.number, epoch, metrics)
            if row.state != "RUNNING":
                self._end(row)

    def started(self, point: Point) -> None:
        """Tell that a trial starts."""
        name = f"{self.name}/{point.number:03d}"
        tags = {"kind": "trial", "state": "RUNNING"}
        label = _label(point.number)
        self.spool.put(*events.child(self.name, label, name, flatten(point.config), tags))

    def epoch(self, number: int, epoch: int, metrics: Metrics) -> None:
        """Tell an epoch's metrics."""
        self.spool.put(*events.metrics(self._run(number), metrics, epoch))

    def ended(self, row: Row) -> None:
        """Tell a trial's end, and how the study stands."""
        self._end(row)
        rows = [row for row in self.record.rows() if row.state != "RUNNING"]
        best = self.record.best()
        states = Counter(row.state.lower() for row in rows)
        standing = {f"trials/{state}": float(count) for state, count in states.items()}
        figures = {} if best is None else best_of(best.metrics)
        self.spool.put(*events.metrics(self.name, standing | figures, len(rows)))

    def _end(self, row: Row) -> None:
        """Tell a trial's end; a pruned one is FINISHED, for KILLED looks like a failure."""
        run = self._run(row.number)
        if row.metrics:
            key, event = events.metrics(run, best_of(row.metrics), row.best_epoch)
            self.spool.put(f"{key}#best", event)
        tags = {"state": row.state, "best_epoch": str(row.best_epoch)}
        if row.cause:
            tags["cause"] = row.cause
        self.spool.put(*events.end(run, tags, failed=row.state == "FAIL"))

    def best(self, row: Row, folder: str, done: int) -> None:
        """Tell the study's best trial, and its model packed in `folder`."""
        self.spool.put(*events.model(self._run(row.number), folder))
        self.spool.put(*events.end(self.name, {"best_trial": str(row.number)}, serial=done))

    def _run(self, number: int) -> str:
        return f"{self.name}/{_label(number)}"


def best_of(metrics: Metrics) -> dict[str, float]:
    """Return the validation figures of a best epoch under names of their own.

    MLflow's table shows the last value of a metric, which is the last epoch's and not the best's.
    """
    return {
        name.replace("val/", "best/"): value
        for name, value in metrics.items()
        if name.startswith("val/")
    }


def _label(number: int) -> str:
    return f"{number:04d}"

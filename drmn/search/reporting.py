"""What happens in a search, told to the spool for MLflow."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from drmn.config import flatten
from drmn.search.budget import spent
from drmn.search.outcome import Outcome
from drmn.search.rows import Metrics, Row, epochs, row_of
from drmn.search.study import Point, Record
from drmn.tracking import events
from drmn.tracking.ship import ShipperProcess
from drmn.tracking.spool import Spool


class Reporter:
    """Watches a search of the study `name` and puts all of it into `spool`.

    MLflow's runs are found by the record's own key: two studies may have one name.
    """

    def __init__(self, spool: Spool, name: str, record: Record) -> None:
        self.spool, self.name, self.record = spool, name, record
        self.key: str = record.study.user_attrs["key"]

    def study(self, experiment: str, params: Mapping[str, Any], about: str) -> None:
        """Tell that the study begins; `about` is shown on its page."""
        tags = {"kind": "study", "mlflow.note.content": about}
        self.spool.put(*events.study(self.key, self.name, experiment, params, tags))
        self.spool.put(*events.goes_on(self.key))

    def baseline(self, name: str, metrics: Metrics, params: Mapping[str, Any]) -> None:
        """Tell a line that DRMN must beat, as a run beside the trials."""
        tags = {"kind": "baseline", "state": "COMPLETE"}
        run, event = events.child(self.key, name.lower(), f"{name} (baseline)", params, tags)
        self.spool.put(run, event)
        self.spool.put(*events.metrics(run, best_of(metrics), 0))
        self.spool.put(*events.end(run, {}))

    def replay(self) -> None:
        """Tell all that the record holds; what was told before is not told twice."""
        with self.spool.together():
            for trial in self.record.trials():
                row = row_of(trial)
                self._start(row.number, row.settings)
                for epoch, metrics in sorted(epochs(trial).items()):
                    self.epoch(row.number, epoch, metrics)
                if row.state != "RUNNING":
                    self._end(row)

    def started(self, point: Point) -> None:
        """Tell that a trial starts."""
        self._start(point.number, flatten(point.config))

    def _start(self, number: int, settings: Mapping[str, Any]) -> None:
        name = f"{self.name}/{number:03d}"
        tags = {"kind": "trial", "state": "RUNNING", "tier": str(settings["tier"])}
        self.spool.put(*events.child(self.key, _label(number), name, settings, tags))

    def epoch(self, number: int, epoch: int, metrics: Metrics) -> None:
        """Tell an epoch's metrics."""
        self.spool.put(*events.metrics(self._run(number), metrics, epoch))

    def ended(self, row: Row) -> None:
        """Tell a trial's end, and how the study stands."""
        self._end(row)
        rows = [row for row in self.record.rows() if row.state != "RUNNING"]
        best = self.record.best()
        states = Counter(row.state.lower() for row in rows)
        used = spent(rows)
        standing = {f"trials/{state}": float(count) for state, count in states.items()}
        standing |= {"spent/epochs": used.epochs, "spent/worker_hours": used.worker_hours}
        figures = {} if best is None else best_of(best.metrics)
        self.spool.put(*events.metrics(self.key, standing | figures, len(rows)))

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

    def best(self, row: Row, folder: str) -> None:
        """Tell the study's best trial, and its model packed in `folder`."""
        self.spool.put(*events.model(self._run(row.number), folder))

    def picture(self, row: Row, path: Path) -> None:
        """Tell that a trial has the picture in the file `path`."""
        self.spool.put(*events.artifact(self._run(row.number), path, "pictures"))

    def outcome(self, outcome: Outcome) -> None:
        """Tell what the trials come to together: on the study's page."""
        if outcome.front:
            numbers = ", ".join(str(row.number) for row in outcome.front)
            self.spool.put(*events.end(self.key, {"front": numbers}, again=True))
        tiers = outcome.tiers
        if tiers is not None:
            found = {"tiers/gain": tiers.gain, "tiers/trials": float(tiers.trials)}
            if tiers.rank_correlation is not None:
                found["tiers/rank_correlation"] = tiers.rank_correlation
            key, event = events.metrics(self.key, found, len(outcome.rows))
            self.spool.put(f"{key}#tiers", event)

    def over(self, why: str) -> None:
        """Tell that the search ends, for now, and why: a later one may go on with the study."""
        best = self.record.best()
        tags = {"ended": why} | ({} if best is None else {"best_trial": str(best.number)})
        self.spool.put(*events.end(self.key, tags, again=True))

    def _run(self, number: int) -> str:
        return f"{self.key}/{_label(number)}"


def drain(shipper: ShipperProcess, spool: Spool, uri: str, console: Console) -> None:
    """Wait until MLflow has all, or say what it lacks."""
    if not shipper.drain(spool):
        console.print(
            f"MLflow at {uri} lacks {spool.count} entries, kept in {spool.path}: "
            f"python -m drmn.tracking sync {spool.path} --uri {uri}",
            soft_wrap=True,
        )


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

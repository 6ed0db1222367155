"""From events to MLflow: study > trial runs, in batches, each thing once.

Runs are found by our own tag before they are created, metrics carry their recorded time, and
params are part of the run's event: applying an event again changes nothing.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    Run,
    RunInfo,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from drmn.tracking import registry, saved_view
from drmn.tracking.package_files import require_readable
from drmn.tracking.shipper import log
from drmn.tracking.spool import Event, Refusal
from drmn.tracking.store import connect

RUN_TAG = "drmn.run"
"""The tag by which a run is found: `study` or `study/0007`."""
FOR_GOOD = ("INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST")
"""Errors that a retry would not change, such as for a run that was deleted in the UI."""
DELETED = "deleted"
"""Life-cycle stage of an experiment or run that was deleted in the UI, and can be restored."""
METRICS_PER_CALL = 900
"""Metrics in one call; MLflow takes at most 1,000."""


class MlflowWriter:
    """Applies events to one tracking store.

    Args:
        uri: URI of the tracking store.
        artifacts: The folder for the artifacts of a new experiment, where the store is a database
            without a server; else empty.
        restore: Restore experiments and runs of ours that were deleted in the UI.
    """

    def __init__(self, uri: str, artifacts: str = "", *, restore: bool = False) -> None:
        self.client = connect(uri)
        self.artifacts, self.restore = artifacts, restore
        self._runs: dict[str, str] = {}
        self._homes: dict[str, str] = {}
        """The experiments of known runs."""
        self._tell: dict[str, Callable[[list[Event]], None]] = {
            "run": self._run,
            "metrics": self._metrics,
            "tags": self._tags,
            "data": self._data,
            "models": self._models,
            "artifact": self._artifact,
            "end": self._end,
            "status": self._status,
        }

    def apply(self, events: Sequence[Event]) -> list[Refusal]:
        """Log `events` to MLflow: runs in their order, then metrics, then the rest in order.

        The epochs of parallel trials alternate in a batch; those of one run go in one call.
        Returns those that MLflow refuses for good.
        """
        refused: list[Refusal] = []
        ordered = sorted(events, key=_turn)
        for (kind, *_), group in groupby(ordered, key=_subject):
            together = list(group)
            try:
                self._tell[kind](together)
            except (MlflowException, LookupError, TypeError, ValueError, OSError) as problem:
                if not _for_good(problem):
                    raise
                # It must not block the events after it.
                log(f"refused: {problem}")
                if not isinstance(problem, FileNotFoundError):  # of which nothing is left to send
                    why = (str(problem).splitlines() or [type(problem).__name__])[0][:300]
                    refused += [(event, why) for event in together]
        return refused

    def _run(self, events: list[Event]) -> None:
        event = events[-1]
        run = self.find(event["run"])
        if run is None:
            run = self._create(event)
        params = [Param(key, str(value)) for key, value in event["params"].items()]
        tags = [RunTag(key, value) for key, value in event["tags"].items()]
        self.client.log_batch(run, params=params, tags=tags)

    def _create(self, event: Event) -> str:
        parent = event.get("parent")
        tags = {RUN_TAG: event["run"]}
        if parent is None:
            experiment = self._experiment(event["experiment"])
        else:
            tags[MLFLOW_PARENT_RUN_ID] = self.need(parent)
            experiment = self._homes[parent]
        made = self.client.create_run(
            experiment, start_time=event["time"], tags=tags, run_name=event["name"]
        )
        self._met(event["run"], made.info)
        return str(made.info.run_id)

    def _met(self, key: str, info: RunInfo) -> None:
        self._runs[key], self._homes[key] = str(info.run_id), str(info.experiment_id)

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = str(Path(self.artifacts) / name) if self.artifacts else None
        made = str(self.client.create_experiment(name, artifact_location=place))
        saved_view.seed(self.client, made)
        return made

    def _metrics(self, events: list[Event]) -> None:
        run = self.need(events[0]["run"])
        points = [
            Metric(name, value, event["time"], event["step"])
            for event in events
            for name, value in event["metrics"].items()
        ]
        for start in range(0, len(points), METRICS_PER_CALL):
            self.client.log_batch(run, metrics=points[start : start + METRICS_PER_CALL])

    def _end(self, events: list[Event]) -> None:
        event = events[-1]
        run = self.need(event["run"])
        tags = [RunTag(key, value) for key, value in event["tags"].items()]
        self.client.log_batch(run, tags=tags)
        self.client.set_terminated(run, event["status"], event["time"])

    def _status(self, events: list[Event]) -> None:
        event = events[-1]
        self.client.update_run(self.need(event["run"]), event["status"])

    def _tags(self, events: list[Event]) -> None:
        found = {key: value for event in events for key, value in event["tags"].items()}
        tags = [RunTag(key, value) for key, value in found.items()]
        self.client.log_batch(self.need(events[0]["run"]), tags=tags)

    def _data(self, events: list[Event]) -> None:
        inputs = [
            DatasetInput(
                Dataset(
                    name=event["name"],
                    digest=event["digest"],
                    source_type="local",
                    source=json.dumps({"uri": event["name"]}),
                    profile=json.dumps(event["profile"]),
                ),
                [InputTag("mlflow.data.context", event["context"])],
            )
            for event in events
        ]
        self.client.log_inputs(self.need(events[0]["run"]), inputs)

    def _models(self, events: list[Event]) -> None:
        registry.agree(self.client, events[-1], self.need)

    def _artifact(self, events: list[Event]) -> None:
        event = events[-1]
        run = self.need(event["run"])
        require_readable(Path(event["path"]))  # the stores' errors for that differ
        self.client.log_artifact(run, event["path"], event["folder"])

    @property
    def runs(self) -> Mapping[str, str]:
        """MLflow's ids of the known runs, by our keys."""
        return self._runs

    def need(self, key: str) -> str:
        """Return the id of the run with our key; it must exist."""
        run = self.find(key)
        if run is None:
            raise LookupError(f"MLflow has no run {key}; run `python jobs/sync.py`.")
        return run

    def find(self, key: str) -> str | None:
        """Return the id of the run with our key, or None."""
        if key not in self._runs:
            home = self._homes.get(key.split("/", maxsplit=1)[0])  # that of its study
            every = [home] if home else [e.experiment_id for e in self.client.search_experiments()]
            found = self._search(every, key, ViewType.ACTIVE_ONLY)
            if not found and self.restore:
                found = self._restored(key)
            if not found:
                return None
            self._met(key, found[0].info)
        return self._runs[key]

    def _restored(self, key: str) -> list[Run]:
        """Restore the run with our key, and its experiment; return it, if there was one."""
        every = self.client.search_experiments(ViewType.ALL)
        gone = {e.experiment_id for e in every if e.lifecycle_stage == DELETED}
        found = self._search([e.experiment_id for e in every], key, ViewType.DELETED_ONLY)
        for run in found:
            if run.info.experiment_id in gone:
                self.client.restore_experiment(run.info.experiment_id)  # and its runs
            if self.client.get_run(run.info.run_id).info.lifecycle_stage == DELETED:
                self.client.restore_run(run.info.run_id)
        return found

    def _search(self, experiments: Sequence[str], key: str, view: int) -> list[Run]:
        wanted = f"tags.`{RUN_TAG}` = '{key}'"
        return list(self.client.search_runs(list(experiments), wanted, view, max_results=1))


def _for_good(problem: Exception) -> bool:
    """Return whether a retry would not change an error: what is refused, and what is no answer.

    Errors of a connection, or of files of MLflow's own, are of the system (`OSError`).
    """
    if isinstance(problem, MlflowException):
        return problem.error_code in FOR_GOOD
    return isinstance(problem, FileNotFoundError) or not isinstance(problem, OSError)


def _turn(event: Event) -> tuple[int, str]:
    """Return the sort key of an event in its batch; events of equal keys stay in order."""
    if event["kind"] == "metrics":
        return 1, event["run"]
    return (0 if event["kind"] == "run" else 2), ""


def _subject(event: Event) -> tuple[str, ...]:
    """Return the subject of an event: consecutive events of one subject are logged together."""
    return event["kind"], event["run"], event.get("path", "")

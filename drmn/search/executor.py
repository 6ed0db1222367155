"""Ray Tune as the executor of a record: it asks what to run and is told when to stop."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ray import cloudpickle, tune
from ray.exceptions import RayActorError
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from drmn.config import flatten
from drmn.search.cluster import places
from drmn.search.folders import drop_last, trial_folder
from drmn.search.rows import SECONDS, Metrics, Row
from drmn.search.study import Point, Record
from drmn.search.trainable import TrialRunner

KEPT = "kept/"
"""What the record holds of the best checkpoint: Tune tells `kept`, a mapping, as names with `/`."""
TOLD = ("loss/", "train/", "val/", "cost/")
"""Whose names begin like this are an epoch's metrics, among all that Tune adds."""


class Watcher(Protocol):
    """Somebody who wants to know how the search goes; it must not take long to hear it."""

    def started(self, point: Point) -> None:
        """A trial starts, or goes on after it lost its process."""

    def epoch(self, number: int, epoch: int, metrics: Metrics) -> None:
        """A trial has come to the end of an epoch."""

    def ended(self, row: Row) -> None:
        """A trial is complete, pruned or failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What the executor needs beside the record."""

    store: Path
    """The feature store."""
    folder: Path
    """Of the study; each trial has a folder in it."""
    may_start: Callable[[], bool]
    """May another trial start?"""
    cpus: float = 1
    gpus: float = 0
    at_once: int = 0
    """Trials at a time; 0 for as many as the cluster holds."""
    watchers: list[Watcher] = field(default_factory=list)


class RecordSearcher(Searcher):
    """Gives Tune the record's next trial."""

    def __init__(self, record: Record, work: Work) -> None:
        super().__init__(metric=record.policy.objective, mode="max")
        self.record, self.work = record, work
        self.live: dict[str, int] = {}
        """The record's number of each of Tune's trials."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a trial's configuration; None to wait for a running one; or FINISHED."""
        more = self.record.interrupted or self.work.may_start()
        if not more:
            return None if self.live else str(Searcher.FINISHED)
        point = self.record.next()
        if point is None:
            return None
        self.live[trial_id] = point.number
        for watcher in self.work.watchers:
            watcher.started(point)
        return {
            "settings": flatten(point.config),
            "folder": str(trial_folder(self.work.folder, point.number)),
            "store": str(self.work.store),
            "objective": self.record.policy.objective,
        }

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,
        error: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Forget a trial that Tune is done with; the scheduler has written it down."""
        del result, error
        self.live.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the record is all that a resume needs."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, for the same reason."""

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's snapshots nothing: an open database cannot be pickled."""
        return {}


class RecordScheduler(FIFOScheduler):
    """Writes each epoch into the record and stops the trial when the record says so."""

    def __init__(self, searcher: RecordSearcher) -> None:
        super().__init__()
        self.searcher, self.record = searcher, searcher.record
        self.watchers = searcher.work.watchers

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's snapshots nothing, as the searcher does."""
        return {}

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Record an epoch."""
        del tune_controller
        number, epoch = self.searcher.live[trial.trial_id], result["epoch"]
        metrics = {k: v for k, v in result.items() if k.startswith(TOLD)}
        metrics[SECONDS] = result["time_this_iter_s"]
        kept = {k.removeprefix(KEPT): v for k, v in result.items() if k.startswith(KEPT)}
        stop = self.record.report(number, epoch, metrics, kept)
        for watcher in self.watchers:
            watcher.epoch(number, epoch, metrics)
        if stop:
            self._ended(number)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """Hand a trial that lost its process out again; write down any other error as its own."""
        del tune_controller
        number, error = self.searcher.live[trial.trial_id], _error_of(trial)
        if self.record.row(number).state != "RUNNING":
            return  # its result is in the record; that its process died after it is no matter
        if not isinstance(error, RayActorError):
            self.record.fail(number, cause_of(error))
        elif self.record.interrupt(number):
            return
        self._ended(number)

    def _ended(self, number: int) -> None:
        row = self.record.row(number)
        drop_last(trial_folder(self.searcher.work.folder, number))
        for watcher in self.watchers:
            watcher.ended(row)


def _error_of(trial: Trial) -> Exception | None:
    """Return what Tune has just written down; `trial.get_pickled_error` looks where it is later."""
    path = trial.pickled_error_file
    error: Exception | None = cloudpickle.loads(Path(path).read_bytes()) if path else None
    return error


def cause_of(error: BaseException | None) -> str:
    """Return the exception that a worker raised, in one line."""
    inner = getattr(error, "cause", None) or error
    first = str(inner).strip().splitlines()[-1:] or [""]
    return f"{type(inner).__name__}: {first[0]}"


def execute(record: Record, work: Work) -> None:
    """Run trials until the budget is spent. Needs a `cluster`."""
    searcher = RecordSearcher(record, work)
    scratch = work.folder / "ray"
    tuner = tune.Tuner(
        tune.with_resources(TrialRunner, {"CPU": work.cpus, "GPU": work.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=RecordScheduler(searcher),
            num_samples=-1,
            max_concurrent_trials=places(work.cpus, work.gpus, work.at_once),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch.absolute()),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # Tune's own notes: the record has all

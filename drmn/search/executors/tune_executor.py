"""Ray Tune as the executor of a study: a searcher and a scheduler over its record."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from drmn.errors import StoreFaultError, StudyError, last_line
from drmn.experiment.study_layout import RAY
from drmn.experiment.trial_checkpoints import drop_last, trial_folder
from drmn.experiment.trial_task import TrialTask
from drmn.fields import flatten
from drmn.search.executors.backends import Backend, open_backend
from drmn.search.executors.config import ExecutorConfig
from drmn.search.executors.fault import fault_of, is_of_files
from drmn.search.executors.trial_losses import TrialLosses
from drmn.search.executors.trial_queue import LostQueueError
from drmn.search.executors.tune_memory import FreeFinishedTrials
from drmn.search.study.ask_tell import AskTellStudy
from drmn.search.trial_summary import TrialSpec

CHECKPOINT_PREFIX = "kept/"
"""Prefix of the best checkpoint's fields: Tune flattens the mapping `kept` to names with `/`."""
METRICS_PREFIX = "metrics/"
"""Prefix of an epoch's metrics: whatever a trial reports reaches the record and MLflow."""


class RecordSearcher(Searcher):
    """Gives Tune the record's next trial."""

    def __init__(self, study: AskTellStudy, work: ExecutorConfig, backend: Backend) -> None:
        super().__init__(metric=METRICS_PREFIX + study.policy.objective, mode="max")
        self.study, self.work, self.backend = study, work, backend
        self.live: dict[str, int] = {}
        """The record's number of each of Tune's trials."""
        self.error = ""
        """Why the search ends, with `stop_on_error`."""
        self.fault: StoreFaultError | None = None
        """Why it ends, if files are damaged or gone: trials that ran resume when they are back."""
        self.ended: StudyError | None = None
        """Why it ends, if its folder was removed or nothing hands out trials any more."""
        self.losses = TrialLosses(study.record, work)

    def look_for_folder(self) -> bool:
        """Return whether the study's folder is still there; otherwise the search ends."""
        try:
            self.work.require_there()
        except StudyError as problem:
            self.ended = problem
            return False
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a trial's configuration; None to wait for a running one; or FINISHED."""
        ends = self.backend.problem or self.error or self.fault or self.ended
        point = self._next() if self.look_for_folder() and not ends else None
        if point is None:
            return None if self.live else str(Searcher.FINISHED)
        self.live[trial_id] = point.number
        self.losses.on_trial_start(trial_id, point.number)
        for callback in self.work.callbacks:
            callback.on_trial_start(point)
        return dict(self.backend.trial_config(trial_id, self._task(point)))

    def _next(self) -> TrialSpec | None:
        if self.study.record.interrupted or self.work.may_start():
            return self.study.ask()
        return self.study.ask_finetune() if self.work.may_go_on() else None

    def _task(self, point: TrialSpec) -> TrialTask:
        photos = point.config.tier == "finetuned" or self.work.pictures.every
        return self.work.kind(
            settings=flatten(point.config),
            folder=str(trial_folder(self.work.folder, point.number)),
            store=str(self.work.store),
            catalogue=self.work.catalogue if photos else None,
            objective=self.study.policy.objective,
            study=self.work.study,
            threads=max(1, int(self.work.resources.cpus)),
            system=self.work.resources.system_metrics,
            pictures=self.work.pictures,
        )

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,
        error: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Forget a trial that Tune has finished with; the scheduler has recorded it."""
        del result, error
        self.backend.on_trial_end(trial_id)
        self.losses.on_trial_end(trial_id)
        self.live.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the record is all that a resume needs."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, for the same reason."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave Tune's snapshots empty: an open database cannot be pickled."""
        return {}


class RecordScheduler(FIFOScheduler):
    """Writes each epoch into the record and stops the trial when the record says so."""

    def __init__(self, searcher: RecordSearcher) -> None:
        super().__init__()
        self.searcher, self.study = searcher, searcher.study
        self.record = searcher.study.record
        self.callbacks = searcher.work.callbacks

    def __getstate__(self) -> dict[str, Any]:
        """Leave Tune's snapshots empty, as the searcher does."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Record an epoch."""
        del tune_controller
        if not self.searcher.look_for_folder():
            return str(TrialScheduler.STOP)
        number, epoch = self.searcher.live[trial.trial_id], result["epoch"]
        metrics, kept = _below(METRICS_PREFIX, result), _below(CHECKPOINT_PREFIX, result)
        stop = self.study.report(number, epoch, metrics, kept)
        for callback in self.callbacks:
            callback.on_epoch_end(number, epoch, metrics)
        if stop:
            self._ended(number)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Requeue a trial that lost its process; any other error fails it."""
        del tune_controller
        if not self.searcher.look_for_folder():
            return
        number, error = self.searcher.live[trial.trial_id], _error_of(trial)
        if self.record.trial_summary(number).state != "RUNNING":
            return  # its result is in the record
        if self.searcher.backend.problem:
            return  # not the trial's failure: it resumes when the study does
        losses = self.searcher.losses
        if isinstance(error, LostQueueError):
            self.searcher.ended = _queue_died(self.searcher.work.folder, error)
        elif error is not None and is_of_files(error):
            self.searcher.fault = fault_of(error)
        elif kind := losses.kind(trial.trial_id, error):
            if cause := losses.requeue(number, trial.trial_id, kind, error):
                self._fail(number, cause)
        else:
            self._fail(number, _cause(error))

    def _fail(self, number: int, cause: str) -> None:
        if self.searcher.work.stop_on_error:
            self.searcher.error = cause
            return
        self.record.fail(number, cause)
        self._ended(number)

    def _ended(self, number: int) -> None:
        row = self.record.trial_summary(number)
        drop_last(trial_folder(self.searcher.work.folder, number))
        for callback in self.callbacks:
            callback.on_trial_end(row)


def _queue_died(folder: Path, error: LostQueueError) -> StudyError:
    return StudyError(
        f"{folder}: the process that hands trials to worker groups died "
        f"({last_line(error).rstrip('.')}); no trial failed by it, and the same command resumes "
        "them."
    )


def _below(prefix: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a result that a trial reported as a mapping: Tune flattens it."""
    return {k.removeprefix(prefix): v for k, v in result.items() if k.startswith(prefix)}


def _cause(error: BaseException | None) -> str:
    """Return the exception that a worker raised, in one line."""
    inner = getattr(error, "cause", None) or error
    return type(inner).__name__ + (f": {last_line(inner)}" if inner is not None else "")


def _error_of(trial: Trial) -> Exception | None:
    """Return the error just written by Tune; `trial.get_pickled_error` reads a later path."""
    path = trial.pickled_error_file
    error: Exception | None = cloudpickle.loads(Path(path).read_bytes()) if path else None
    return error


def execute(study: AskTellStudy, work: ExecutorConfig) -> None:
    """Run trials until the budget is spent. Needs a `ray_session`.

    Raises:
        StudyError: No group of workers can be started; the queue died; the study's folder was
            removed; or, with `stop_on_error`, a trial raised.
        StoreFaultError: Files that trials read are damaged or gone.
    """
    scratch = work.folder / RAY
    try:
        with open_backend(work.resources, work.at_once, scratch) as chosen:
            searcher = RecordSearcher(study, work, chosen)
            _tuner(searcher, scratch).fit()
        if chosen.problem:
            raise StudyError(f"No group of workers can be started: {chosen.problem}.")
        if ended := searcher.ended or searcher.fault:
            raise ended
        if searcher.error:
            raise StudyError(
                f"{work.folder}: {searcher.error.rstrip('.')}. The same command resumes it."
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # Ray's own files: the record has all


def _tuner(searcher: RecordSearcher, scratch: Path) -> tune.Tuner:
    return tune.Tuner(
        searcher.backend.trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=RecordScheduler(searcher),
            num_samples=-1,
            max_concurrent_trials=searcher.backend.at_once,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch.absolute()),
            verbose=0,
            callbacks=[FreeFinishedTrials(), searcher.losses.watch],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )

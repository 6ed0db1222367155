"""An open study while this process drives it: what a search and a run at fixed settings share."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from drmn.data.images.catalogue import Catalogue
from drmn.data.splits import development
from drmn.data.splits.development import Development
from drmn.data.store import feature_store
from drmn.evaluation.baselines import Baseline
from drmn.experiment import model_export
from drmn.experiment.baseline_cache import cached_baselines
from drmn.experiment.leftovers import sweep
from drmn.experiment.lock import FolderLock, lock_folder
from drmn.experiment.trial_checkpoints import CURVE, PICTURE, trial_folder
from drmn.io.content import remove_made
from drmn.search.analysis.pack_trials import PackedTrials, Packer
from drmn.search.budget.limits import BudgetTracker
from drmn.search.callbacks.base import Callback
from drmn.search.callbacks.mlflow_logger import MlflowLogger
from drmn.search.callbacks.mlflow_run_logger import logger_of
from drmn.search.callbacks.study_metadata import StudyMetadata, study_metadata_of
from drmn.search.executors.config import ExecutorConfig
from drmn.search.storage.factory import make_storage
from drmn.search.storage.studies import open_study
from drmn.search.study.ask_tell import AskTellStudy
from drmn.search.study.create import create_study
from drmn.search.study.plan import Plan, RunPlan
from drmn.search.study.record import StudyRecord
from drmn.search.trial_summary import TrialSummary, ranking
from drmn.tracking import provenance
from drmn.tracking.events import Keyed
from drmn.tracking.shipper_process import ShipperProcess, drain
from drmn.tracking.spool import Spool, open_spool
from drmn.tracking.uri import absolute
from drmn.training.checkpoint import BEST
from drmn.units import MEGABYTE


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A study or run that this process has locked, opened and logged to MLflow."""

    plan: Plan
    store: Path
    """The feature store."""
    catalogue: Catalogue
    """Paths of the photos."""
    study: AskTellStudy
    data: Development
    baselines: Sequence[Baseline]
    spool: Spool
    shipper: ShipperProcess
    logger: MlflowLogger
    budget: BudgetTracker
    lock: FolderLock

    @property
    def record(self) -> StudyRecord:
        """The study's record."""
        return self.study.record

    def execute(self, callbacks: Sequence[Callback]) -> None:
        """Run trials until the budget is spent.

        Raises:
            UserError: The cluster is too small for a trial, or (a run) training failed.
        """
        failed = False
        try:
            if not self.nothing_left():
                self._execute([*callbacks, self.logger])
                self.lock.require_there()
        except Exception:
            failed = True
            raise
        finally:
            why = self.budget.exhausted(self.record.trial_summaries())
            self.logger.on_search_end(why, failed=failed)

    def _execute(self, callbacks: list[Callback]) -> None:
        from drmn.cluster.connect import ray_session  # noqa: PLC0415 - Ray takes seconds to import

        with ray_session():
            from drmn.search.executors.tune_executor import execute  # noqa: PLC0415

            plan, record, budget = self.plan, self.record, self.budget
            config = ExecutorConfig(
                store=self.store.absolute(),
                catalogue=self.catalogue,
                folder=plan.folder.absolute(),
                study=self.logger.key,
                may_start=lambda: not budget.exhausted(record.trial_summaries()),
                may_go_on=lambda: not budget.over_limit(record.trial_summaries()),
                resources=plan.resources,
                pictures=plan.pictures,
                at_once=plan.budget.at_once or plan.policy.window,
                require_there=self.lock.require_there,
                stop_on_error=isinstance(plan, RunPlan),
                callbacks=callbacks,
            )
            execute(self.study, config)

    def nothing_left(self) -> bool:
        """Return whether no trial is to be started or resumed."""
        found, budget = self.record.trial_summaries(), _fresh(self.plan)
        more = self.study.finetune_queue and not budget.over_limit(found)
        return bool(budget.exhausted(found)) and not self.record.interrupted and not more

    def sweep(self, say: Callable[[str], object], *, damaged_too: bool) -> None:
        """Remove what killed processes left in the folder; no trial may run meanwhile."""
        found = self.record.trial_summaries()
        ended = [trial.number for trial in found if trial.state != "RUNNING"]
        with suppress(OSError):  # the next start removes them
            if damaged := sweep(self.plan.folder, ended, damaged_too=damaged_too):
                say(f"note: {damaged} damaged files of finished trials were removed.")

    def pack(self) -> tuple[list[str], bool]:
        """Pack the networks of the trials, and draw where the best one looks.

        Returns the lines to print about that, and whether no checkpoint was found damaged.
        """
        trials = self._to_pack()
        if not model_export.takes_photos(self.store):
            say = (
                "The features came from a file, without a backbone, so there is no model that "
                f"takes photos; the best trial's weights are in {self._folder(trials[0]) / BEST}."
            )
            return [say], True
        limit = self.plan.budget.model_mb * MEGABYTE
        made = Packer(self.plan.folder, self.data, self.store, self._draw).pack(trials, limit)
        return self._remarks(made), not made.damaged

    def _folder(self, trial: TrialSummary) -> Path:
        return trial_folder(self.plan.folder, trial.number)

    def _draw(self, packed: model_export.Packed) -> None:
        """Draw the pictures of the best trial, beside its package."""
        folder = packed.folder.parent
        title, files = self.plan.title(int(folder.name)), self.catalogue.places()
        for name in (PICTURE, CURVE):
            remove_made(folder / name)
        looks = f"{title}: where the network looks"
        model_export.draw_attention(packed, looks, self.data, self.store, files)
        model_export.draw_curve(packed, f"{title}: validation", self.data)

    def _remarks(self, made: PackedTrials) -> list[str]:
        said = [f"warning: no model of this trial: {problem}" for problem in made.damaged]
        if made.over and self.plan.budget.model_mb:
            said.append(
                f"note: the {made.over} worst trials have no model in MLflow: all networks would "
                f"take more than --budget.model-mb {self.plan.budget.model_mb:g}."
            )
        if made.rows and (picture := self._folder(made.rows[0]) / PICTURE).is_file():
            said.append(f"Where the best network looks: {picture}")
        return said

    def _to_pack(self) -> list[TrialSummary]:
        """Return the trials that have a network, the best first."""
        found = ranking(self.record.trial_summaries())
        return [trial for trial in found if trial.checkpoint and not trial.dropped]

    def ship(self, console: Console, models: Keyed | None = None) -> bool:
        """Log files and models, wait for MLflow; return whether it has all.

        `models` is the event of the models, where that is not one of the trials' packages.
        """
        self.logger.files(models)
        drain(self.shipper, self.spool, self.plan.tracking_uri, console)
        self.logger.note_runs()
        return not (self.spool.count or self.spool.missed or self.spool.refused)


@contextmanager
def open_session(
    plan: Plan, store: Path, catalogue: Catalogue, console: Console
) -> Iterator[Session]:
    """Lock and open the study or run of `plan` for a `with` block; start it if there is none.

    Raises:
        UserError: Another process holds it, or it was made with other settings.
    """
    storage = make_storage(plan.storage)
    held = lock_folder(plan.folder, plan.name, kind=plan.kind)
    with held as lock, storage.lock(plan.folder):
        say = partial(console.print, soft_wrap=True, highlight=False)
        opened = open_study(plan.folder, plan.identity(store), storage, say=say)
        study = create_study(plan, opened, feature_store.held_features(store))
        data = development.open_store(store, fold=plan.base.fold)
        found = _baselines(plan, data)
        spool = open_spool(plan.folder / "spool.db")
        shipper = ShipperProcess(spool.path, absolute(plan.tracking_uri))
        logger = logger_of(spool, plan.folder, study.record)
        session = Session(
            plan=plan,
            store=store,
            catalogue=catalogue,
            study=study,
            data=data,
            baselines=found,
            spool=spool,
            shipper=shipper,
            logger=logger,
            budget=_fresh(plan),
            lock=lock,
        )
        try:
            _log_start(logger, study_metadata_of(plan, found, feature_store.read(store), data))
            session.sweep(say, damaged_too=True)
            yield session
            session.sweep(say, damaged_too=False)  # those that were found now are looked at
        except Exception:
            drain(shipper, spool, plan.tracking_uri, console)  # how it ended, and all before that
            raise


def _log_start(logger: MlflowLogger, about: StudyMetadata) -> None:
    """Log a study that starts or resumes, and all that its record holds."""
    logger.on_study_start(about)
    logger.replay()
    logger.on_resume()
    provenance.files(logger.folder)


def _baselines(plan: Plan, data: Development) -> list[Baseline]:
    if data.val_unseen.part == "test":  # nothing is chosen on these, baselines neither
        return []
    return cached_baselines(data, plan.base.fold, plan.folder.parents[1] / "baselines")


def _fresh(plan: Plan) -> BudgetTracker:
    """Return the budget of a start that starts now."""
    return BudgetTracker(plan.budget, time.monotonic())

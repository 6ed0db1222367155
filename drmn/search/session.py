"""An open study while this process drives it: what a search and a run at fixed settings share."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from drmn.data.images.catalogue import Catalogue
from drmn.data.splits import development
from drmn.data.splits.development import Development
from drmn.data.store import feature_store
from drmn.evaluation.baselines import Baseline
from drmn.experiment import model_export
from drmn.experiment.baseline_cache import cached_baselines
from drmn.experiment.lock import lock_folder
from drmn.experiment.trial_checkpoints import CURVE, PICTURE, trial_folder
from drmn.level_names import join
from drmn.search.analysis.export_best import pack_best
from drmn.search.budget.limits import BudgetTracker
from drmn.search.callbacks.base import Callback
from drmn.search.callbacks.mlflow_logger import MlflowLogger
from drmn.search.callbacks.mlflow_run_logger import logger_of
from drmn.search.callbacks.study_metadata import study_metadata_of
from drmn.search.storage.factory import make_storage
from drmn.search.storage.studies import open_study
from drmn.search.study.ask_tell import AskTellStudy
from drmn.search.study.create import create_study
from drmn.search.study.plan import Plan, RunPlan
from drmn.search.study.record import StudyRecord
from drmn.search.trial_summary import TrialSummary, ranking
from drmn.tracking import provenance
from drmn.tracking.shipper import ShipperProcess, absolute, drain
from drmn.tracking.spool import Spool, open_spool
from drmn.training.checkpoint import BEST


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
        except Exception:
            failed = True
            raise
        finally:
            why = self.budget.exhausted(self.record.trial_summaries())
            self.logger.on_search_end(why, failed=failed)

    def _execute(self, callbacks: list[Callback]) -> None:
        from drmn.cluster.connect import ray_session  # noqa: PLC0415 - Ray takes seconds to import

        with ray_session():
            from drmn.search.executors.tune_executor import (  # noqa: PLC0415
                ExecutorConfig,
                execute,
            )

            plan, record, budget = self.plan, self.record, self.budget
            config = ExecutorConfig(
                store=self.store.absolute(),
                catalogue=self.catalogue,
                folder=plan.folder.absolute(),
                may_start=lambda: not budget.exhausted(record.trial_summaries()),
                may_go_on=lambda: not budget.over_limit(record.trial_summaries()),
                resources=plan.resources,
                pictures=plan.pictures,
                at_once=plan.budget.at_once or plan.policy.window,
                stop_on_error=isinstance(plan, RunPlan),
                callbacks=callbacks,
            )
            execute(self.study, config)

    def nothing_left(self) -> bool:
        """Return whether no trial is to be started or resumed."""
        found, budget = self.record.trial_summaries(), _fresh(self.plan)
        more = self.study.finetune_queue and not budget.over_limit(found)
        return bool(budget.exhausted(found)) and not self.record.interrupted and not more

    def pack(self) -> list[str]:
        """Pack the networks of the best trials, and draw where the very best one looks.

        Returns the lines to print about that.
        """
        trials = self._to_pack()
        best, folder = trials[0], trial_folder(self.plan.folder, trials[0].number)
        if not model_export.takes_photos(self.store):
            say = (
                "The features came from a file, without a backbone, so there is no model that "
                f"takes photos; the best trial's weights are in {folder / BEST}."
            )
            return [say]

        def pictures(packed: model_export.Packed) -> None:
            title, files = self.plan.title(best.number), self.catalogue.places()
            looks = f"{title}: where the network looks"
            for name in (PICTURE, CURVE):
                (folder / name).unlink(missing_ok=True)
            model_export.draw_attention(packed, looks, self.data, self.store, files)
            model_export.draw_curve(packed, f"{title}: validation", self.data)

        pack_best(self.plan.folder, trials, self.data, self.store, pictures)
        if not (folder / PICTURE).is_file():
            return []
        return [f"Where the best network looks: {folder / PICTURE}"]

    def _to_pack(self) -> list[TrialSummary]:
        """Return the trials whose networks go to MLflow, the best first."""
        found = ranking(self.record.trial_summaries())
        kept = [trial for trial in found if trial.checkpoint and not trial.dropped]
        return kept[: self.plan.budget.models]

    def ship(self, console: Console) -> bool:
        """Log files and models, wait for MLflow; return whether it has all."""
        self.logger.files()
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
    with lock_folder(plan.folder, plan.name, kind=plan.kind), storage.lock(plan.folder):
        held = join(feature_store.key_of(feature_store.manifest_of(store)).levels)
        study = create_study(plan, open_study(plan.folder, plan.identity(store), storage), held)
        data = development.open_store(store, fold=plan.base.fold)
        test = data.val_unseen.part == "test"  # nothing is chosen on these, baselines neither
        cache = plan.folder.parents[1] / "baselines"
        found = [] if test else cached_baselines(data, plan.base.fold, cache)
        spool = open_spool(plan.folder / "spool.db")
        shipper = ShipperProcess(spool.path, absolute(plan.tracking_uri))
        logger = logger_of(spool, plan.folder, study.record)
        logger.on_study_start(study_metadata_of(plan, found, feature_store.read(store), data))
        logger.replay()
        logger.on_resume()
        provenance.files(plan.folder)
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
        )
        try:
            yield session
        except Exception:
            drain(shipper, spool, plan.tracking_uri, console)  # how it ended, and all before that
            raise


def _fresh(plan: Plan) -> BudgetTracker:
    """Return the budget of a start that starts now."""
    return BudgetTracker(plan.budget, time.monotonic())

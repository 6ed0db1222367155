"""A search, all put together: record, policy, Ray, MLflow's spool, progress."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from drmn.data.images.catalogue import Catalogue
from drmn.data.splits import development
from drmn.data.splits.development import Development
from drmn.data.store import feature_store
from drmn.errors import ConfigError
from drmn.evaluation import baselines
from drmn.experiment import baseline_cache as kept
from drmn.experiment import model_export
from drmn.experiment.lock import lock_folder
from drmn.experiment.trial_checkpoints import CURVE, PICTURE, trial_folder
from drmn.search.analysis import diagnostics
from drmn.search.analysis.export_best import pack_best
from drmn.search.analysis.result import SearchResult
from drmn.search.budget.limits import BudgetTracker
from drmn.search.callbacks.base import Callback
from drmn.search.callbacks.checkpoint_quota import CheckpointQuota
from drmn.search.callbacks.mlflow_logger import MlflowLogger
from drmn.search.callbacks.study_metadata import study_metadata_of
from drmn.search.callbacks.terminal_progress import TerminalProgress
from drmn.search.storage.advisory_lock import lock_in_database
from drmn.search.storage.studies import open_study
from drmn.search.study.ask_tell import AskTellStudy
from drmn.search.study.create import create_study
from drmn.search.study.plan import StudyPlan
from drmn.search.study.record import StudyRecord
from drmn.search.trial_summary import TrialSummary, complete
from drmn.tracking import provenance
from drmn.tracking.shipper import ShipperProcess, absolute, drain
from drmn.tracking.spool import open_spool
from drmn.training.checkpoint import BEST


def search(
    plan: StudyPlan, store: Path, console: Console, catalogue: Catalogue, figures: Callback
) -> SearchResult:
    """Run the study of `plan` on the feature store until its budget is spent.

    Begins where the study's record stands. The catalogue knows where the photos lie: for trials
    that train the backbone along, and for the picture of where the best network looks.

    Raises:
        UserError: The study is held by another process or was made with other settings.
    """
    if plan.policy.finetune and not model_export.takes_photos(store):
        raise ConfigError(
            f"--policy.finetune {plan.policy.finetune}: these features came from a file, without a "
            "backbone to train along; leave it out."
        )
    with lock_folder(plan.folder, plan.name), lock_in_database(plan.storage, plan.name) as claim:
        opened = open_study(plan.folder, plan.name, plan.identity(store), claim)
        study = create_study(plan, opened)
        record = study.record
        data = development.open_store(store, fold=plan.base.fold)
        lines = kept.cached_baselines(data, plan.base.fold, plan.folder.parents[1] / "baselines")
        spool = open_spool(plan.folder / "spool.db")
        shipper = ShipperProcess(spool.path, absolute(plan.tracking_uri))
        mlflow_logger = MlflowLogger(spool, plan.name, record)
        mlflow_logger.on_study_start(
            study_metadata_of(plan, lines, feature_store.read(store), data)
        )
        mlflow_logger.replay()
        mlflow_logger.on_resume()
        provenance.files(plan.folder)
        budget = BudgetTracker(plan.budget, time.monotonic())
        quota = CheckpointQuota(record, plan.folder, plan.budget.checkpoint_mb, console)
        try:
            with _progress(plan, record, baselines.strongest(lines), console) as progress:
                callbacks = [progress, mlflow_logger, quota, figures]
                _execute(plan, (store, catalogue), study, budget, callbacks)
        finally:
            mlflow_logger.on_search_end(budget.exhausted(record.trial_summaries()))
        remarks = _pack(plan, record, data, (store, catalogue)) if record.best() else []
        for remark in remarks:
            console.print(remark, soft_wrap=True, highlight=False)
        outcome = _outcome(plan, record, data, lines, budget)
        mlflow_logger.outcome(outcome)
        figures.on_study_end()
        mlflow_logger.files(plan.folder)
        drain(shipper, spool, plan.tracking_uri, console)
        mlflow_logger.note_runs()
        whole = not (spool.count or spool.missed or quota.warned)
        settled = whole and _nothing_left(study, BudgetTracker(plan.budget, time.monotonic()))
        return replace(outcome, remarks=remarks, settled=settled)


def _outcome(
    plan: StudyPlan,
    record: StudyRecord,
    data: Development,
    lines: Sequence[baselines.Baseline],
    budget: BudgetTracker,
) -> SearchResult:
    best, rows = record.best(), record.trial_summaries()
    return SearchResult(
        study=plan.name,
        data=data.digest,
        best=best,
        ended=budget.exhausted(rows),
        baselines={each.name: each.metrics for each in lines},
        rows=rows,
        objective=plan.policy.objective,
        second_objective=plan.policy.second_objective,
        notes=diagnostics.notes(best, rows, record.trials(), plan.policy.first_rung),
    )


def _progress(
    plan: StudyPlan, record: StudyRecord, line: baselines.Baseline, console: Console
) -> TerminalProgress:
    return TerminalProgress(
        console,
        plan.name,
        plan.budget.trials + plan.policy.finetune,
        plan.policy.objective,
        line.name,
        line.metrics["val/H"],
        earlier=record.trial_summaries(),
    )


def _pack(
    plan: StudyPlan, record: StudyRecord, data: Development, images: tuple[Path, Catalogue]
) -> list[str]:
    """Pack the networks of the best trials, and draw where the very best one looks.

    Returns what is to be said of that.
    """
    store, catalogue = images
    best, *_ = rows = _models(plan, record)
    folder = trial_folder(plan.folder, best.number)
    if not model_export.takes_photos(store):
        say = (
            "The features came from a file, without a backbone, so there is no model that takes "
            f"photos; the best trial's weights are in {folder / BEST}."
        )
        return [say]

    def pictures(packed: model_export.Packed) -> None:
        title, places = f"Study {plan.name}, trial {best.number}", catalogue.places()
        looks = f"{title}: where the network looks"
        for name in (PICTURE, CURVE):
            (folder / name).unlink(missing_ok=True)
        model_export.draw_attention(packed, looks, data, store, places)
        model_export.draw_curve(packed, f"{title}: validation", data)

    pack_best(plan.folder, rows, data, store, pictures)
    if not (folder / PICTURE).is_file():
        return []
    return [f"Where trial {best.number} looks: {folder / PICTURE}"]


def _models(plan: StudyPlan, record: StudyRecord) -> list[TrialSummary]:
    """Return the trials whose networks go to MLflow, the best first."""
    kept = [trial for trial in complete(record.trial_summaries()) if not trial.dropped]
    return kept[: plan.budget.models]


def _nothing_left(study: AskTellStudy, budget: BudgetTracker) -> bool:
    """Return whether no trial is to be started or resumed."""
    found = study.record.trial_summaries()
    more = study.finetune_queue and not budget.over_limit(found)
    return bool(budget.exhausted(found)) and not study.record.interrupted and not more


def _execute(
    plan: StudyPlan,
    images: tuple[Path, Catalogue],
    study: AskTellStudy,
    budget: BudgetTracker,
    callbacks: list[Callback],
) -> None:
    record = study.record
    if _nothing_left(study, budget):
        return
    from drmn.cluster.connect import ray_session  # noqa: PLC0415 - Ray takes seconds to import

    with ray_session():
        from drmn.search.executors.tune_executor import ExecutorConfig, execute  # noqa: PLC0415

        config = ExecutorConfig(
            store=images[0].absolute(),
            catalogue=images[1],
            folder=plan.folder.absolute(),
            may_start=lambda: not budget.exhausted(record.trial_summaries()),
            may_go_on=lambda: not budget.over_limit(record.trial_summaries()),
            resources=plan.resources,
            at_once=plan.budget.at_once or plan.policy.window,
            callbacks=callbacks,
        )
        execute(study, config)

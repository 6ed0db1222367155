"""A search, all put together: record, policy, Ray, MLflow's spool, progress."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from drmn.data.images.catalogue import Catalogue
from drmn.data.splits import development
from drmn.data.splits.development import Development
from drmn.data.store import feature_store
from drmn.errors import ConfigError
from drmn.evaluation import baselines
from drmn.experiment import baseline_cache as kept
from drmn.experiment import model_export
from drmn.experiment.lock import held
from drmn.experiment.trial_checkpoints import trial_folder
from drmn.search.analysis import diagnostics
from drmn.search.analysis.export_best import pack_best
from drmn.search.analysis.result import Outcome
from drmn.search.budget.limits import Purse
from drmn.search.callbacks.base import Artist
from drmn.search.callbacks.checkpoint_quota import Quota
from drmn.search.callbacks.mlflow_logger import Reporter
from drmn.search.callbacks.study_metadata import about
from drmn.search.callbacks.terminal_progress import Progress
from drmn.search.storage.advisory_lock import Claim, claimed
from drmn.search.storage.studies import open_study
from drmn.search.study.create import begun
from drmn.search.study.plan import Plan
from drmn.search.study.record import Record
from drmn.search.trial_summary import Row, complete
from drmn.tracking import provenance
from drmn.tracking.shipper import ShipperProcess, absolute, drain
from drmn.tracking.spool import open_spool
from drmn.training.checkpoint import BEST


def search(
    plan: Plan, store: Path, console: Console, catalogue: Catalogue, artist: Artist
) -> Outcome:
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
    with held(plan.folder, plan.name), claimed(plan.storage, plan.name) as claim:
        record = _record(plan, store, claim)
        data = development.open_store(store, fold=plan.base.fold)
        lines = kept.lines(data, plan.base.fold, plan.folder.parents[1] / "baselines")
        spool = open_spool(plan.folder / "spool.db")
        shipper = ShipperProcess(spool.path, absolute(plan.tracking_uri))
        reporter = Reporter(spool, plan.name, record)
        reporter.begin(about(plan, lines, feature_store.read(store), data))
        reporter.replay()
        reporter.goes_on()
        provenance.files(plan.folder)
        purse = Purse(plan.budget, time.monotonic())
        quota = Quota(record, plan.folder, plan.budget.checkpoint_mb, console)
        try:
            with _progress(plan, record, baselines.strongest(lines), console) as progress:
                watchers = [progress, reporter, quota, artist]
                _execute(plan, (store, catalogue), record, purse, watchers)
        finally:
            reporter.over(purse.empty(record.rows()))
        if record.best() is not None:
            _pack(plan, record, data, (store, catalogue), console)
        outcome = _outcome(plan, record, data, lines, purse)
        reporter.outcome(outcome)
        artist.finish()
        reporter.files(plan.folder)
        drain(shipper, spool, plan.tracking_uri, console)
        reporter.note_runs()
        return outcome


def _record(plan: Plan, store: Path, claim: Claim | None) -> Record:
    """Open the study, or begin it."""
    return begun(plan, open_study(plan.folder, plan.name, plan.identity(store), claim))


def _outcome(
    plan: Plan,
    record: Record,
    data: Development,
    lines: Sequence[baselines.Baseline],
    purse: Purse,
) -> Outcome:
    best, rows = record.best(), record.rows()
    return Outcome(
        study=plan.name,
        data=data.digest,
        best=best,
        ended=purse.empty(rows),
        lines={each.name: each.metrics for each in lines},
        rows=rows,
        objective=plan.policy.objective,
        second=plan.policy.second,
        notes=diagnostics.notes(best, rows, record.trials(), plan.policy.first_rung),
    )


def _progress(plan: Plan, record: Record, line: baselines.Baseline, console: Console) -> Progress:
    return Progress(
        console,
        plan.name,
        plan.budget.trials + plan.policy.finetune,
        plan.policy.objective,
        line.name,
        line.metrics["val/H"],
        earlier=record.rows(),
    )


def _pack(
    plan: Plan,
    record: Record,
    data: Development,
    images: tuple[Path, Catalogue],
    console: Console,
) -> None:
    """Pack the networks of the best trials, and draw where the very best one looks."""
    store, catalogue = images
    best, *_ = rows = _models(plan, record)
    if not model_export.takes_photos(store):
        say = (
            "The features came from a file, without a backbone, so there is no model that takes "
            "photos; the best trial's weights are in "
            f"{trial_folder(plan.folder, best.number) / BEST}."
        )
        console.print(say, soft_wrap=True, highlight=False)
        return
    first, *_ = pack_best(plan.folder, rows, data, store)
    title = f"Study {plan.name}, trial {best.number}"
    picture = model_export.picture(
        first, f"{title}: where the network looks", data, store, catalogue.places()
    )
    model_export.curve(first, f"{title}: validation", data)
    if picture is not None:
        say = f"Where trial {best.number} looks: {picture}"
        console.print(say, soft_wrap=True, highlight=False)


def _models(plan: Plan, record: Record) -> list[Row]:
    """Return the trials whose networks go to MLflow, the best first."""
    return [row for row in complete(record.rows()) if not row.dropped][: plan.budget.models]


def _execute(
    plan: Plan,
    images: tuple[Path, Catalogue],
    record: Record,
    purse: Purse,
    watchers: list[Any],
) -> None:
    rows = record.rows()
    more = record.waiting and not purse.overspent(rows)
    if purse.empty(rows) and not record.interrupted and not more:
        return
    from drmn.cluster.connect import cluster  # noqa: PLC0415 - Ray takes seconds to import
    from drmn.search.executors.tune_executor import Work, execute  # noqa: PLC0415

    work = Work(
        store=images[0].absolute(),
        catalogue=images[1],
        folder=plan.folder.absolute(),
        may_start=lambda: not purse.empty(record.rows()),
        may_go_on=lambda: not purse.overspent(record.rows()),
        engine=plan.engine,
        at_once=plan.budget.at_once or plan.policy.window,
        watchers=watchers,
    )
    with cluster():
        execute(record, work)

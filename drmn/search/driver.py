"""A search, and a run at fixed settings: record, policy, Ray, MLflow, progress put together."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from drmn.data.images.catalogue import Catalogue
from drmn.data.store import feature_store
from drmn.errors import ConfigError, StudyError
from drmn.evaluation import baselines
from drmn.experiment import model_export
from drmn.experiment.trial_checkpoints import trial_folder
from drmn.experiment.trial_task import TrialTask
from drmn.fields import flatten
from drmn.metric_names import Metrics
from drmn.search.analysis import diagnostics
from drmn.search.analysis.comparison import comparison_epoch
from drmn.search.analysis.evidence import limits
from drmn.search.analysis.result import RunResult, SearchResult
from drmn.search.callbacks.base import Callback
from drmn.search.callbacks.checkpoint_quota import CheckpointQuota
from drmn.search.callbacks.epoch_lines import EpochLines
from drmn.search.callbacks.terminal_progress import TerminalProgress
from drmn.search.session import Session, open_session
from drmn.search.storage.names import RECORD
from drmn.search.study.plan import RunPlan, StudyPlan, on_levels
from drmn.search.trial_summary import epochs
from drmn.space_features import require_held_levels

OLD_RUN = "run.json"
"""File of a run that an earlier version started: it had a history in place of a record."""


def search(
    plan: StudyPlan, console: Console, figures: Callback, store: Path, catalogue: Catalogue
) -> SearchResult:
    """Run the study of `plan` on the feature store until its budget is spent.

    Resumes from the study's record. The catalogue has the paths of the photos: for trials that
    fine-tune the backbone, and for the picture of where the best network looks.

    Raises:
        UserError: The study is held by another process or was made with other settings.
    """
    if plan.policy.finetune and not model_export.takes_photos(store):
        raise ConfigError(
            f"--policy.finetune {plan.policy.finetune}: these features came from a file, without a "
            "backbone to fine-tune; leave it out."
        )
    held = feature_store.held_features(store).levels
    plan = on_levels(plan, held)
    require_held_levels(plan.search_space, plan.base, held)
    with open_session(plan, store, catalogue, console) as session:
        record = session.record
        quota = CheckpointQuota(record, plan.folder, plan.budget.checkpoint_mb, console)
        with _progress(session, console) as progress:
            session.execute([progress, quota, figures])
        remarks, sound = session.pack() if record.best() else ([], True)
        for remark in remarks:
            console.print(remark, soft_wrap=True, highlight=False)
        outcome = _search_result(session)
        session.logger.outcome(outcome)
        figures.on_study_end()
        whole = session.ship(console) and sound and not quota.warned
        return replace(outcome, remarks=remarks, settled=whole and session.nothing_left())


def _progress(session: Session, console: Console) -> TerminalProgress:
    plan, beaten = session.plan, baselines.strongest(session.baselines)
    return TerminalProgress(
        console,
        plan.name,
        plan.budget.trials + plan.policy.finetune,
        plan.policy.objective,
        beaten.name,
        beaten.metrics["val/H"],
        session.record.trial_summaries(),
    )


def _search_result(session: Session) -> SearchResult:
    plan, record = session.plan, session.record
    best, trials = record.best(), record.trial_summaries()
    rung = comparison_epoch(record.trials(), flatten(plan.policy, "policy."))
    found = [] if best is None else limits(best, trials, _lines(session), _unseen(session))
    return SearchResult(
        study=plan.name,
        data=session.data.digest,
        best=best,
        ended=session.budget.exhausted(trials),
        baselines=_lines(session),
        rows=trials,
        objective=plan.policy.objective,
        second_objective=plan.policy.second_objective,
        options=plan.options,
        notes=found + diagnostics.notes(best, trials, record.trials(), rung),
    )


def _lines(session: Session) -> dict[str, Metrics]:
    return {each.name: each.metrics for each in session.baselines}


def _unseen(session: Session) -> int:
    return int((~session.data.classes.seen).sum())


def train(plan: RunPlan, console: Console, store: Path, catalogue: Catalogue) -> RunResult:
    """Train the run of `plan` to its last epoch, or resume it: it is a study of one trial.

    Raises:
        UserError: The run is held by another process, was made with other settings, or failed.
    """
    plan = on_levels(plan, feature_store.held_features(store).levels)
    if not (plan.folder / RECORD).is_file():
        if (plan.folder / OLD_RUN).is_file():
            raise StudyError(
                f"Run {plan.name} was started by an earlier version ({plan.folder / OLD_RUN}): "
                "finish it with that one, or use --run NAME to start another."
            )
        _task(plan, store, catalogue).check()  # a mistake is reported before any worker starts
    with open_session(plan, store, catalogue, console) as session:
        record = session.record
        for number in record.interrupted:
            record.forgive(number)
        known = epochs(record.trial(0)) if record.count else {}
        session.execute([EpochLines(console, plan.base.optim.epochs, known)])
        trial = record.trial_summary(0)
        if trial.state == "FAIL":
            raise StudyError(
                f"Run {plan.name} failed: {trial.cause}; train others with --run NAME."
            )
        for remark in session.pack()[0]:
            console.print(remark, soft_wrap=True, highlight=False)
        session.ship(console)
        lines = _lines(session)
        return RunResult(
            run=plan.name,
            data=session.data.digest,
            trial=trial,
            epochs=epochs(record.trial(0)),
            baselines=lines,
            options=plan.options,
            notes=limits(trial, [trial], lines, _unseen(session)),
        )


def _task(plan: RunPlan, store: Path, catalogue: Catalogue) -> TrialTask:
    return TrialTask(
        settings=flatten(plan.base),
        folder=str(trial_folder(plan.folder.absolute(), 0)),
        store=str(store.absolute()),
        catalogue=catalogue,
        objective=plan.policy.objective,
        pictures=plan.pictures,
    )

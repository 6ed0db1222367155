"""Output of jobs: progress of preparation, and results of a search or a run."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from drmn.data.images.catalogue import Catalogue
from drmn.errors import ConfigError, StoreFaultError, StudyError
from drmn.experiment import train_command
from drmn.metric_names import Metrics
from drmn.prepare.job import FeatureRequest, prepare_features
from drmn.report.progress import progress
from drmn.report.say import say
from drmn.search.analysis.result import RunResult, SearchResult
from drmn.search.study_totals import StudyTotals
from drmn.search.trial_summary import TrialSummary
from drmn.tracking.uri import HERE

T = TypeVar("T")
REPAIRS = 2
"""Times that one start makes damaged features again."""
TABLE_COLUMNS = ("T1", "U", "S", "H", "AUSUC")


def prepared(console: Console, request: FeatureRequest) -> tuple[Path, Catalogue]:
    """Return the feature store and the catalogue that a job asks for; show the progress."""
    with progress(console) as start:
        return prepare_features(request, partial(say, console), start)


def repaired(
    console: Console, request: FeatureRequest, run: Callable[[Path, Catalogue], T]
) -> tuple[T, Path, Catalogue]:
    """Return the result of `run` on the features, and these; damaged ones are made again.

    Raises:
        StoreFaultError: They were damaged time after time, or other files are.
    """
    for _ in range(REPAIRS):
        store, catalogue = prepared(console, request)
        try:
            return run(store, catalogue), store, catalogue
        except StoreFaultError as fault:
            say(console, f"note: {fault} The features are checked, and made again if need be.")
    store, catalogue = prepared(console, request)
    return run(store, catalogue), store, catalogue


def summary(console: Console, outcome: SearchResult, tracking_uri: str, experiment: str) -> None:
    """Print the best settings, the baselines, and how to see the rest."""
    best = outcome.best
    if best is None:
        causes = [f"trial {row.number}: {row.cause}" for row in outcome.rows if row.cause]
        raise StudyError(f"No trial of {outcome.study} was completed. {'; '.join(causes[:3])}.")
    console.print(f"\nBest settings of study {outcome.study} (trial {best.number}):")
    tier = {} if best.again is None else {"tier": best.settings["tier"]}
    for name, value in sorted({**best.params, **tier}.items()):
        console.print(f"  {name} {value}", highlight=False)
    train_again(console, outcome, best)
    rows = {f"DRMN, trial {best.number}": best.metrics}
    console.print(figures_table(rows, outcome.baselines))
    why = f"; it ended because {outcome.ended}" if outcome.ended else ""
    say(console, f"\nSpent: {StudyTotals(outcome.rows)}{why}.")
    if outcome.tiers is not None:
        say(console, f"Tiers: {outcome.tiers}.")
    if outcome.pareto_front:
        console.print(front_table(outcome))
    for note in outcome.notes:
        say(console, f"note: {note}")
    program = shlex.join([_python(), str(Path(sys.argv[0]).with_name("finalize.py"))])
    place = shlex.join(["--study", outcome.study, *outcome.place])
    say(console, f"\nConfirm the best, refit it and test it once: {program} {place}")
    see_in_mlflow(console, tracking_uri, experiment)


def train_again(console: Console, outcome: SearchResult, best: TrialSummary) -> None:
    """Print the command that trains the best trial again, the settings of the space included."""
    program = shlex.join([_python(), str(Path(sys.argv[0]).with_name("train.py"))])
    place = shlex.join([f"{outcome.study}/{best.number}", *outcome.place])
    say(console, f"\nTrain it again: {program} --from {place}")
    say(console, "The same with all of its settings, those that the space fixes too:")
    say(console, train_command.command(outcome.train_arguments, program))
    if best.state == "PRUNED":
        say(
            console,
            f"It was stopped at epoch {best.epochs} of {best.settings['optim.epochs']}; this "
            "trains all of them, so its best epoch may be a later one.",
        )
    console.print()


def run_summary(
    console: Console, outcome: RunResult, folder: Path, tracking_uri: str, experiment: str
) -> None:
    """Print the figures of a run's best epoch beside the baselines, and where the rest is."""
    best = outcome.trial
    rows = {f"{outcome.run}, epoch {best.best_epoch}": best.metrics}
    console.print(figures_table(rows, outcome.baselines))
    for note in outcome.notes:
        say(console, f"note: {note}")
    say(console, f"\nRecord and checkpoints: {folder}")
    see_in_mlflow(console, tracking_uri, experiment)


def see_in_mlflow(console: Console, tracking_uri: str, experiment: str) -> None:
    """Print what opens MLflow on an experiment: an address, or a command where no server runs."""
    if tracking_uri.startswith("http"):
        say(console, f"\nSee it in MLflow: {_address(tracking_uri, experiment)}")
        return
    uri = "" if tracking_uri == HERE else f" --uri {tracking_uri}"
    command = f"{_python()} -m drmn.tracking serve --experiment {experiment}{uri}"
    say(console, f"\nSee it in MLflow: {command}")


def _address(server: str, experiment: str) -> str:
    from drmn.tracking import saved_view  # noqa: PLC0415 - MLflow takes seconds to import

    os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
    try:
        return saved_view.view_address(server, server, experiment)
    except ConfigError:  # it is away: the events that it lacks were printed before
        return server


def _python() -> str:
    """Return this interpreter, as short as it can be named from here."""
    python = Path(sys.executable)
    return str(python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python)


def front_table(outcome: SearchResult) -> Table:
    """Return a table of the trials that none beats in both objectives."""
    title = f"Not beaten in both {outcome.objective} and {outcome.second_objective}"
    table = Table(box=None, title=title, title_justify="left")
    for column in ("trial", "H", "U", "S", "AUSUC", "seconds an epoch"):
        table.add_column(column, justify="right")
    for row in sorted(outcome.pareto_front, key=lambda row: -(row.value or 0.0)):
        figures = [f"{100 * row.metrics[f'val/{name}']:.1f}" for name in ("H", "U", "S", "AUSUC")]
        table.add_row(str(row.number), *figures, f"{row.seconds / row.epochs:.2f}")
    return table


def figures_table(rows: Mapping[str, Metrics], lines: Mapping[str, Metrics]) -> Table:
    """Return a table of validation figures in percent: a row per model, then the baselines."""
    table = Table(box=None, title="On validation classes, percent", title_justify="left")
    table.add_column("")
    for name in TABLE_COLUMNS:
        table.add_column(name, justify="right")
    beaten = {f"{name}, same features and split": line for name, line in lines.items()}
    for name, metrics in (dict(rows) | beaten).items():
        figures = [f"{100 * metrics[f'val/{column}']:.1f}" for column in TABLE_COLUMNS]
        figures[3] += f" ± {100 * metrics['val/H_se']:.1f}"
        table.add_row(name, *figures)
    return table

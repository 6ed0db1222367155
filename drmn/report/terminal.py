"""What jobs print: how preparing goes, and what a search came to."""

import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from drmn.config import FeatureConfig
from drmn.data import specs
from drmn.errors import StudyError
from drmn.extract import open_catalogue, prepare, without_bad
from drmn.search.outcome import Outcome
from drmn.search.rows import Row

COLUMNS = ("T1", "U", "S", "H", "AUSUC")


def prepared(
    console: Console, dataset: str, data_root: Path, features: FeatureConfig, storage: Path
) -> Path:
    """Return the feature store of a dataset, made if need be; show how far it is."""
    spec = specs.spec(dataset)
    root = storage / "demo" if spec.name == specs.DEMO.name else data_root
    catalogue = open_catalogue(dataset, root)
    if features.on_bad == "skip":
        catalogue = without_bad(catalogue, storage / "features")
    for note in catalogue.notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    if not console.is_terminal:
        return prepare(catalogue, features, storage / "features", _Fifths(console))
    columns = (TextColumn("features"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("features", total=len(catalogue.images))
        return prepare(
            catalogue,
            features,
            storage / "features",
            lambda done, total: bar.update(task, completed=done, total=total),
        )


@dataclass
class _Fifths:
    """Says how far an extraction is, five times, where there is no terminal for a bar."""

    console: Console
    said: int = 0

    def __call__(self, done: int, total: int) -> None:
        if 5 * done // total > self.said:
            self.said = 5 * done // total
            self.console.print(f"features: {done} of {total} images", highlight=False)


def summary(console: Console, outcome: Outcome, tracking_uri: str, experiment: str) -> None:
    """Print the best settings, the line they beat, and how to see the rest."""
    best = outcome.best
    if best is None:
        causes = [f"trial {row.number}: {row.cause}" for row in outcome.rows if row.cause]
        raise StudyError(f"No trial of {outcome.study} was completed. {'; '.join(causes[:3])}.")
    console.print(f"\nBest settings of study {outcome.study} (trial {best.number}):")
    for name, value in sorted(best.params.items()):
        console.print(f"  --{name} {value}", highlight=False)
    console.print(_figures(outcome, best))
    uri = "" if tracking_uri == "sqlite:///mlflow.db" else f" --uri {tracking_uri}"
    command = f"{_python()} -m drmn.tracking serve --experiment {experiment}{uri}"
    console.print(f"\nSee it in MLflow: {command}", highlight=False, soft_wrap=True)


def _python() -> str:
    """Return this interpreter, as short as it can be named from here."""
    python = Path(sys.executable)
    return str(python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python)


def _figures(outcome: Outcome, best: Row) -> Table:
    table = Table(box=None, title="On validation classes, percent", title_justify="left")
    table.add_column("")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    rows = [
        (f"DRMN, trial {best.number}", best.metrics),
        ("ESZSL, same features and split", outcome.baseline),
    ]
    for name, metrics in rows:
        figures = [f"{100 * metrics[f'val/{column}']:.1f}" for column in COLUMNS]
        figures[3] += f" ± {100 * metrics['val/H_se']:.1f}"
        table.add_row(name, *figures)
    return table

"""Names of records: the file, and the study in Optuna, of a folder of results."""

from pathlib import Path

RECORD = "record.db"
"""File of a study's folder: its record, in SQLite."""
RUNS = "runs"
"""Folder of results, and prefix in a database, that runs are kept in: both may use one name."""


def kind_of(folder: Path) -> str:
    """Return "run" for a folder below results/runs, otherwise "study"."""
    return "run" if folder.parent.name == RUNS else "study"


def record_name(folder: Path) -> str:
    """Return the name of a folder's study in Optuna."""
    return f"{RUNS}/{folder.name}" if kind_of(folder) == "run" else folder.name

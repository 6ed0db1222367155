"""MLflow's store in a SQLite file that has its tables: to create them takes over a CPU second."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from drmn.tracking.store import connect

FILE = "mlflow.db"
"""Name of the file that jobs use by default, in the folder that they are started in."""


@cache
def _template():
    """Return a folder with an empty store; it goes with this process."""
    folder = TemporaryDirectory(prefix="drmn-mlflow-")
    connect(f"sqlite:///{folder.name}/{FILE}")
    return folder


def new_store(folder):
    """Put an empty store into a folder that has none; return its URI."""
    file = Path(folder, FILE)
    if not file.exists():
        shutil.copy(Path(_template().name, FILE), file)
    return f"sqlite:///{file}"

"""URI of MLflow's tracking store, as MLflow's own clients read it."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from drmn.fields import refuse_password, require
from drmn.flags import expand_home

URI = "MLFLOW_TRACKING_URI"
"""MLflow's environment variable of the store."""
HERE = "sqlite:///mlflow.db"
"""A file in the current folder."""
SQLITE = "sqlite:///"
SERVER = ("http://", "https://")


def default_store() -> str:
    """Return the default store: that of the environment, or else of the current folder."""
    return expand_home(os.environ.get(URI) or HERE)


STORES = (SQLITE, "postgresql", "mysql", *SERVER)
"""Prefixes of stores that MLflow supports; `file:` is not supported any more."""


def require_store(tracking_uri: str) -> None:
    """Raise `ConfigError` unless MLflow supports the store, and its URI holds no password."""
    refuse_password(
        "--tracking-uri",
        tracking_uri,
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (of a database, into ~/.pgpass)",
    )
    have = f"{', '.join(STORES[:-1])} or {STORES[-1]}"
    known = tracking_uri.startswith(STORES)
    require("tracking-uri", tracking_uri, known, f"one that starts with {have}")
    if not tracking_uri.startswith(SQLITE):
        whole = "a whole address, such as http://server:5000"
        require("tracking-uri", tracking_uri, _is_whole(tracking_uri), whole)


def _is_whole(uri: str) -> bool:
    """Return whether a URI has a host, or is a database's through a socket, and a port in range."""
    try:
        parts = urlsplit(uri)
        return bool(parts.netloc or parts.query) and parts.port != 0
    except ValueError:
        return False


def absolute(uri: str) -> str:
    """Return a tracking URI that means the same from every folder, and to every SQLAlchemy.

    A relative SQLite path would open an empty database in each process's own folder; SQLAlchemy's
    default driver for PostgreSQL differs from version to version.
    """
    if uri.startswith("postgresql://"):
        return uri.replace("postgresql://", "postgresql+psycopg2://", 1)
    if not uri.startswith(SQLITE):
        return uri
    return SQLITE + str(Path(uri.removeprefix(SQLITE)).absolute())


def artifact_folder(uri: str) -> str:
    """Return where artifacts go if the store is a SQLite file: beside it. Else the empty string."""
    if not uri.startswith(SQLITE):
        return ""
    return str(Path(absolute(uri).removeprefix(SQLITE)).parent / "mlartifacts")

"""URI of MLflow's tracking store, as MLflow's own clients read it."""

import os

from drmn.fields import refuse_password, require
from drmn.flags import expand_home

URI = "MLFLOW_TRACKING_URI"
"""MLflow's environment variable of the store."""
HERE = "sqlite:///mlflow.db"
"""A file in the current folder."""


def default_store() -> str:
    """Return the default store: that of the environment, or else of the current folder."""
    return expand_home(os.environ.get(URI) or HERE)


STORES = ("sqlite:///", "postgresql", "mysql", "http://", "https://")
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

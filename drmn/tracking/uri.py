"""Where MLflow keeps runs, as its own clients are told it."""

import os

from drmn.config import refuse_password, require

URI = "MLFLOW_TRACKING_URI"
"""The variable by which MLflow, and its clients, are told of the store."""
HERE = "sqlite:///mlflow.db"
"""A file in the folder that one is in."""


def default_store() -> str:
    """Return where MLflow keeps runs unless told: that of the environment, or of this folder."""
    return os.environ.get(URI) or HERE


STORES = ("sqlite:///", "postgresql", "mysql", "http://", "https://")
"""What MLflow keeps runs in; it takes no `file:` store any more."""


def require_store(tracking_uri: str) -> None:
    """Raise `ConfigError` unless MLflow may keep runs there, and the URI may be shown."""
    refuse_password(
        "--tracking-uri",
        tracking_uri,
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (of a database, into ~/.pgpass)",
    )
    have = f"{', '.join(STORES[:-1])} or {STORES[-1]}"
    known = tracking_uri.startswith(STORES)
    require("tracking-uri", tracking_uri, known, f"one that starts with {have}")

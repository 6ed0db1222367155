"""Where MLflow keeps runs, as its own clients are told it."""

import os

URI = "MLFLOW_TRACKING_URI"
"""The variable by which MLflow, and its clients, are told of the store."""
HERE = "sqlite:///mlflow.db"
"""A file in the folder that one is in."""


def default_store() -> str:
    """Return where MLflow keeps runs unless told: that of the environment, or of this folder."""
    return os.environ.get(URI) or HERE

"""The command that trains a run of MLflow again, as its tag says."""

import os
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from drmn.errors import ConfigError, last_line
from drmn.tracking.events import COMMAND
from drmn.tracking.uri import SQLITE, absolute, require_store


def logged_command(uri: str, run: str) -> str:
    """Return the command of the run that has this id in MLflow's store at `uri`.

    Raises:
        ConfigError: There is no such run, it has no command, or MLflow does not answer.
    """
    require_store(uri)
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        raise ConfigError(f"--from {run}: no MLflow store at {uri}; give --tracking-uri.")
    os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    try:
        tags = MlflowClient(absolute(uri)).get_run(run).data.tags
    except MlflowException as problem:
        raise ConfigError(
            f"--from {run}: MLflow at {uri}: {last_line(problem)}; give the id of a trial's run, "
            "or --tracking-uri of the store that has it."
        ) from None
    if COMMAND not in tags:
        raise ConfigError(
            f"--from {run}: this run of MLflow has no tag {COMMAND!r}; give that of a trial."
        )
    return str(tags[COMMAND])

"""A view of a study for MLflow's UI, and the link that opens it.

MLflow opens in its GenAI mode, where a newcomer sees no runs. A saved view with the columns that
matter, and a link to it, shows the study instead. The format is MLflow's own and not documented,
so the view is optional: runs are logged whether it works or not.
"""

import base64
import json
import time
import zlib

from mlflow import MlflowClient

from drmn.errors import ConfigError

VIEW_KEY, TREE_VIEW_KEY = "drmn", "drmn-tree"
"""Keys of the views: all runs, the best first; and each study with its trials below it."""
VIEW_COLUMNS = ("best/H", "best/H_se", "best/U", "best/S", "best/T1", "best/AUSUC")
NAMES = {VIEW_KEY: "DRMN: best first", TREE_VIEW_KEY: "DRMN: studies and their trials"}


def seed(client: MlflowClient, experiment: str) -> None:
    """Save the views in an experiment."""
    # MLflow nests runs where they are sorted by time alone.
    orders = {VIEW_KEY: "metrics.`best/H`", TREE_VIEW_KEY: "attributes.start_time"}
    for key, order in orders.items():
        state = {
            "searchFilter": "",
            "orderByKey": order,
            "orderByAsc": False,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "selectedColumns": ["tags.`state`", *[f"metrics.`{name}`" for name in VIEW_COLUMNS]],
            "runsExpanded": {},
            "runsHiddenMode": "FIRST_10_RUNS",
        }
        packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
        now = int(time.time() * 1000)
        view = {"name": NAMES[key], "createdAt": now, "updatedAt": now}
        view |= {"state": f"deflate;{packed}"}
        client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{key}", json.dumps(view))


def view_address(uri: str, server: str, experiment: str = "") -> str:
    """Return the address of the view of an experiment, or of the latest one, on a server.

    Raises:
        ConfigError: The store cannot be read, or there is no experiment of that name.
    """
    try:
        every = MlflowClient(uri).search_experiments()
    except Exception as problem:  # noqa: BLE001 - the store may be anything
        raise ConfigError(f"--uri: not a store of MLflow ({type(problem).__name__}).") from None
    found = [e for e in every if e.name == experiment] if experiment else every[:1]
    if not found:
        have = ", ".join(e.name for e in every)
        raise ConfigError(f"--experiment {experiment}: none of that name; there are {have}.")
    return link(server, found[0].experiment_id)


def link(server: str, experiment: str, key: str = VIEW_KEY) -> str:
    """Return the address of an experiment's view on a server."""
    query = f"viewStateShareKey={key}&workflowType=machine_learning"
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs?{query}"

"""A view of a study for MLflow's UI, and the link that opens it.

MLflow opens in its GenAI mode, where a newcomer sees no runs. A saved view with the columns that
matter, and a link to it, shows the study instead. The format is MLflow's own and not documented,
so the view is a courtesy: whatever fails here, the runs are there.
"""

import base64
import json
import time
import zlib

from mlflow import MlflowClient

KEY = "drmn"
COLUMNS = ("best/H", "best/H_se", "best/U", "best/S", "best/T1", "best/AUSUC")


def seed(client: MlflowClient, experiment: str) -> None:
    """Save the view in an experiment."""
    state = {
        "searchFilter": "",
        "orderByKey": "metrics.`best/H`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "selectedColumns": [
            "attributes.`Source`",
            *[f"metrics.`{name}`" for name in COLUMNS],
            "tags.`state`",
        ],
        "runsExpanded": {},
        "runsHiddenMode": "FIRST_10_RUNS",
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now = int(time.time() * 1000)
    view = {"name": "DRMN study", "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}
    client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{KEY}", json.dumps(view))


def link(experiment: str, port: int) -> str:
    """Return the address of an experiment's view on a server of this machine."""
    query = f"viewStateShareKey={KEY}&workflowType=machine_learning"
    return f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs?{query}"

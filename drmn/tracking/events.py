"""What a search tells MLflow, as plain data: made by the search, applied by the shipper.

Each function returns a key and an event for `Spool.put`. Times are fixed here, in milliseconds, so
telling MLflow twice changes nothing.
"""

import hashlib
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drmn.tracking.spool import Event

Keyed = tuple[str, Event]


def study(
    run: str, name: str, experiment: str, params: Mapping[str, Any], tags: Mapping[str, str]
) -> Keyed:
    """A study begins: MLflow's parent run."""
    event = {"kind": "run", "run": run, "name": name, "experiment": experiment, "tags": tags}
    return run, event | {"params": params, "time": _now()}


def goes_on(run: str) -> Keyed:
    """A run that was over, or is new, is running."""
    now = _now()
    return f"{run}#on{now}", {"kind": "status", "run": run, "status": "RUNNING", "time": now}


def child(
    study: str, label: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str]
) -> Keyed:
    """A run below a study begins: a trial, or the baseline."""
    run = f"{study}/{label}"
    event = {"kind": "run", "run": run, "parent": study, "name": name, "tags": tags}
    return run, event | {"params": params, "time": _now()}


def metrics(run: str, values: Mapping[str, float], step: int) -> Keyed:
    """An epoch's metrics; MLflow turns infinity into a number, so only finite ones are told."""
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    event = {"kind": "metrics", "run": run, "metrics": finite, "step": step, "time": _now()}
    return f"{run}@{step}", event


def end(run: str, tags: Mapping[str, str], *, failed: bool = False, again: bool = False) -> Keyed:
    """A run is over, once and for all or, a study that may be resumed, `again`."""
    status, now = "FAILED" if failed else "FINISHED", _now()
    event = {"kind": "end", "run": run, "tags": tags, "status": status, "time": now}
    return f"{run}#end{now if again else ''}", event


def model(run: str, folder: str) -> Keyed:
    """The model packed in `folder` belongs to a run."""
    return f"{run}#model", {"kind": "model", "run": run, "folder": folder}


def artifact(run: str, path: Path, folder: str) -> Keyed:
    """A file belongs to a run, in a folder of its artifacts; it must stay until it is shipped.

    Told again it changes nothing, unless the file has other content than it had.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    event = {"kind": "artifact", "run": run, "path": str(path.absolute()), "folder": folder}
    return f"{run}#{folder}/{path.name}@{digest}", event


def _now() -> int:
    return int(time.time() * 1000)

"""Events of a search for MLflow, as plain data: made by the search, applied by the shipper.

Each function returns a key and an event for `Spool.put`. Times are part of an event, in seconds
since 1970, and come from the record where it has them: logging an event twice changes nothing, even
if the spool was lost in between.
"""

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drmn.tracking.names import registered_name
from drmn.tracking.spool import Event

Keyed = tuple[str, Event]
Tags = Mapping[str, str]
COMMAND = "command"
"""Tag of a trial, a run and a study: the command that trains it, or its best trial, again."""


def study(
    run: str, name: str, experiment: str, params: Mapping[str, Any], tags: Tags, *, at: float
) -> Keyed:
    """A study starts: MLflow's parent run."""
    event = {"kind": "run", "run": run, "name": name, "experiment": experiment, "tags": tags}
    return run, event | {"params": params, "time": _ms(at)}


def goes_on(run: str) -> Keyed:
    """A run is running: it is new, or resumed after its end."""
    now = _ms()
    return f"{run}#on{now}", {"kind": "status", "run": run, "status": "RUNNING", "time": now}


def child(
    parent: str, run: str, name: str, params: Mapping[str, Any], tags: Tags, *, at: float
) -> Keyed:
    """A child run starts: a trial, its repeat, or a baseline."""
    event = {"kind": "run", "run": run, "parent": parent, "name": name, "tags": tags}
    return run, event | {"params": params, "time": _ms(at)}


def tags(run: str, found: Tags) -> Keyed:
    """A run has tags, in place of those of the same names."""
    return f"{run}#tags{_ms()}", {"kind": "tags", "run": run, "tags": found}


def data(run: str, name: str, digest: str, profile: Mapping[str, Any], context: str) -> Keyed:
    """A run uses data of this digest, for the purpose `context`."""
    event = {"kind": "data", "run": run, "name": name, "digest": digest, "profile": profile}
    return f"{run}#data/{context}@{digest}", event | {"context": context}


def metrics(run: str, values: Mapping[str, float], step: int, at: float = 0.0) -> Keyed:
    """An epoch's metrics; only finite ones, as MLflow turns infinity into a number."""
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    event = {"kind": "metrics", "run": run, "metrics": finite, "step": step, "time": _ms(at)}
    return f"{run}@{step}", event


def end(run: str, found: Tags, *, failed: bool = False, at: float = 0.0) -> Keyed:
    """A run is over, for good if it has a time; a study that may be resumed has none."""
    status, now = "FAILED" if failed else "FINISHED", _ms(at)
    event = {"kind": "end", "run": run, "tags": found, "status": status, "time": now}
    return f"{run}#end{'' if at else now}", event


def registered(
    experiment: str, data: str, value: float, *, refitted: bool = False, card: str = ""
) -> Mapping[str, Any]:
    """Return the registry's fields of a model.

    Args:
        experiment: Name of the experiment.
        data: Digest of the images that `value` is measured on.
        value: H on validation: of a search its best trial's, of a refit its settings' mean over
            fresh blocks.
        refitted: Whether it is the refit of a confirmed winner, which outranks a search's trial.
        card: Model card in Markdown, the description of the registered version.
    """
    found = {"name": registered_name(experiment), "data": data, "value": value}
    return found | {"refitted": refitted, "card": card}


def models(run: str, packages: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> Keyed:
    """A study, or a run, has just these models: others of it are removed.

    Args:
        run: The study or run that has the models.
        packages: The `run`, `name`, `folder` (packed network), `metrics` and `step` of each.
        about: The registry's fields of the first one (`registered`).
    """
    event = {"kind": "models", "run": run, "models": list(packages), "registered": about}
    return f"{run}#models{_ms()}", event


def artifact(run: str, path: Path, folder: str) -> Keyed:
    """A file belongs to a run, in a folder of its artifacts; it must stay until it is shipped.

    Logged again it changes nothing, unless the file was written again.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    event = {"kind": "artifact", "run": run, "path": str(path.absolute()), "folder": folder}
    return f"{run}#{folder}/{path.name}@{digest}-{path.stat().st_mtime_ns}", event


def _ms(at: float = 0.0) -> int:
    """Return a time in milliseconds; without one, the current time."""
    return int(1000 * (at or time.time()))

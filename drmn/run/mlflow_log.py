"""What happens in one run, told to the spool for MLflow; and told anew from the run's folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drmn.experiment.attention_snapshots import PICTURES, snapshot_path
from drmn.experiment.trial_checkpoints import PACKAGE
from drmn.metric_names import AT, Metrics, best_of
from drmn.run.epoch_log import HISTORY, History
from drmn.tracking import events, provenance
from drmn.tracking.spool import Spool
from drmn.training.checkpoint import BEST, State, load

RUN = "run.json"
"""In a run's folder: what it is, and what is told of it as a whole."""


def refill(folder: Path, spool: Spool) -> None:
    """Tell all of the run in `folder` anew: MLflow's database was lost."""
    made = json.loads((folder / RUN).read_text())
    begin(spool, made)
    for path in sorted((folder / provenance.PROVENANCE).glob("*.*")):
        spool.put(*events.artifact(made["key"], path, provenance.PROVENANCE))
    for epoch, metrics in History(folder / HISTORY).epochs().items():
        tell_epoch(spool, made["key"], epoch, metrics, folder)
    state = load(folder / BEST)
    if state is not None and "lines" in made:
        tell_best(spool, made, state, folder)
    spool.put(*events.end(made["key"], {}, failed=state is None))


def begin(spool: Spool, made: Mapping[str, Any]) -> None:
    """Tell that the run is there."""
    about = (made["name"], made["experiment"], made["identity"], made["tags"])
    spool.put(*events.study(made["key"], *about, at=made["begun"]))


def tell_epoch(spool: Spool, key: str, epoch: int, metrics: Metrics, folder: Path) -> None:
    """Tell an epoch, and its picture if there is one."""
    plain = {name: value for name, value in metrics.items() if name != AT}
    spool.put(*events.metrics(key, plain, epoch, metrics[AT]))
    if (drawn := snapshot_path(folder, epoch)).is_file():
        spool.put(*events.artifact(key, drawn, PICTURES))


def tell_best(spool: Spool, made: Mapping[str, Any], state: State, folder: Path) -> None:
    """Tell the best epoch's figures under names of their own, as trials have them; and the model.

    It is at that epoch's time that they came to be.
    """
    key, step = made["key"], state["number"]
    at = History(folder / HISTORY).epochs()[step][AT]
    found = best_of(state["metrics"])
    run, event = events.metrics(
        key, found | {f"baseline/{name}_H": line for name, line in made["lines"].items()}, step, at
    )
    spool.put(f"{run}#best", event)
    if not (folder / PACKAGE).is_dir():
        return
    model = {"run": key, "name": made["name"], "metrics": found, "step": step}
    model |= {"folder": str((folder / PACKAGE).absolute())}
    told = events.registered(made["experiment"], made["data"], found["best/H"])
    spool.put(*events.models(key, [model], told))

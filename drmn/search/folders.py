"""Where the trials of a study keep their checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drmn.checkpoint import BEST, LAST, State, save

PACKAGE, PICTURE, CURVE = "package", "attention.png", "seen-unseen.png"
"""In a trial's folder: its network, packed; where that looks; its accuracies at every gamma."""


def trial_folder(study: Path, number: int) -> Path:
    """Return the folder of a trial's checkpoints."""
    return study / "trials" / f"{number:04d}"


def keep_best(folder: Path, state: State) -> Mapping[str, Any]:
    """Save an epoch as a trial's best; return what the record holds of that."""
    saved = save(folder / BEST, {"model": state["model"], "metrics": state["metrics"]})
    return {"epoch": state["number"], **saved._asdict()}


def kept_best(folder: Path, state: State) -> Mapping[str, Any]:
    """Return what the record holds of the best epoch, from the state that a trial goes on from.

    `state` is written before the best epoch's file: if a process died between the two, or was not
    heard of, the file is written again.
    """
    kept: Mapping[str, Any] = state["kept"]
    return keep_best(folder, state) if kept["epoch"] == state["number"] else kept


def drop_best(folder: Path) -> None:
    """Remove the best epoch of a trial: there is no room for it."""
    (folder / BEST).unlink(missing_ok=True)


def drop_last(folder: Path) -> None:
    """Remove what a trial would go on from: it is over. Its best epoch stays."""
    (folder / LAST).unlink(missing_ok=True)

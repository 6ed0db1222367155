"""A trial's checkpoints: where they are, written whole or not at all."""

import os
from pathlib import Path

import torch

from drmn.train import State

LAST, BEST = "last.pt", "best.pt"


def trial_folder(study: Path, number: int) -> Path:
    """Return the folder of a trial's checkpoints."""
    return study / "trials" / f"{number:04d}"


def drop_last(folder: Path) -> None:
    """Remove what a trial would go on from: it is over. Its best epoch stays."""
    (folder / LAST).unlink(missing_ok=True)


def save(path: Path, state: State) -> None:
    """Write `state` whole or not at all: a process may be killed at any moment."""
    building = path.with_suffix(".tmp")
    with building.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    building.replace(path)


def load(path: Path) -> State | None:
    """Return the state in `path`, or None if there is none."""
    if not path.is_file():
        return None
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    return state

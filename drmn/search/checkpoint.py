"""A trial's checkpoints: where they are, written whole or not at all."""

import hashlib
import io
import os
from pathlib import Path

import torch

from drmn.train import State

LAST, BEST = "last.pt", "best.pt"
SHA256 = hashlib.sha256().digest_size


def trial_folder(study: Path, number: int) -> Path:
    """Return the folder of a trial's checkpoints."""
    return study / "trials" / f"{number:04d}"


def drop_last(folder: Path) -> None:
    """Remove what a trial would go on from: it is over. Its best epoch stays."""
    (folder / LAST).unlink(missing_ok=True)


def save(path: Path, state: State) -> None:
    """Write `state` whole or not at all, after the SHA-256 of its bytes.

    A process may be killed at any moment, and torch itself notices no altered byte.
    """
    content = io.BytesIO()
    torch.save(state, content)
    building = path.with_suffix(".tmp")
    with building.open("wb") as file:
        file.write(hashlib.sha256(content.getbuffer()).digest())
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    building.replace(path)


def load(path: Path) -> State | None:
    """Return the state in `path`; None if there is none, or a damaged one, which is moved aside."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    if hashlib.sha256(content[SHA256:]).digest() != content[:SHA256]:
        path.replace(path.with_suffix(".damaged"))
        return None
    state: State = torch.load(io.BytesIO(content[SHA256:]), map_location="cpu", weights_only=True)
    return state

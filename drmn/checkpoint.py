"""Checkpoints: written whole or not at all, and never read if a byte of them has changed."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch

State = dict[str, Any]

LAST, BEST = "last.pt", "best.pt"
"""What a run goes on from, and its best epoch."""
SHA256 = hashlib.sha256().digest_size


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

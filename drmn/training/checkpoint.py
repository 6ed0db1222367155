"""Checkpoints: written whole or not at all, and never read if a byte of them has changed."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch

State = dict[str, Any]

LAST, BEST = "last.pt", "best.pt"
"""Files of the state that a run resumes from, and of its best epoch."""
SHA256 = hashlib.sha256().digest_size


class Saved(NamedTuple):
    """A file that was written."""

    sha256: str
    """SHA-256 of its content, with which the file starts."""
    bytes: int


def save(path: Path, state: State) -> Saved:
    """Write `state` whole or not at all, after the SHA-256 of its bytes.

    A process may be killed at any moment, and torch itself notices no altered byte.
    """
    content = io.BytesIO()
    torch.save(state, content)
    digest = hashlib.sha256(content.getbuffer())
    building = path.with_suffix(".tmp")
    with building.open("wb") as file:
        file.write(digest.digest())
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    building.replace(path)
    return Saved(digest.hexdigest(), SHA256 + len(content.getbuffer()))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 that `save` wrote into a file; `load` checks the content against it."""
    with path.open("rb") as file:
        return file.read(SHA256).hex()


def is_whole(path: Path) -> bool:
    """Return whether the content of a file that is there is that of its SHA-256."""
    with path.open("rb") as file:
        return file.read(SHA256) == hashlib.file_digest(file, "sha256").digest()


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

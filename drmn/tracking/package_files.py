"""The files of a packed network, without torch: shipping or checking one does not load it.

A frozen backbone is the same for all networks on one feature store, so it is a file of its own,
which many packages may share.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from drmn.errors import DataError

METADATA_FILE, WEIGHTS_FILE = "about.json", "model.safetensors"
BACKBONE_FILE = "backbone.safetensors"
"""The backbone's weights: in the package, or in the study's folder for all its packages."""


BACKBONE, BACKBONE_URI = "backbone", "backbone.uri"
"""Artifact of a model in MLflow that shares its backbone: a file with the URI of that."""


def package_digest(folder: Path) -> str:
    """Return 16 hex digits that change with any byte of a packed network."""
    seen = hashlib.sha256()
    for name in (METADATA_FILE, WEIGHTS_FILE):  # the first has the backbone's digest
        seen.update(bytes.fromhex(sha256_of(folder / name)))
    return seen.hexdigest()[:16]


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def require_readable(file: Path) -> None:
    """Raise `FileNotFoundError` or `DataError` unless a file can be read to its end."""
    try:
        sha256_of(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: gone before it was shipped.") from None
    except OSError as problem:
        raise DataError(f"{file}: it cannot be read ({problem.strerror}).") from None


def require_whole(folder: Path) -> None:
    """Raise `DataError` unless a package's files are there and are not cut short."""
    try:
        about = json.loads((folder / METADATA_FILE).read_text())
        weights = folder / WEIGHTS_FILE, folder / BACKBONE_FILE
        if not holds_backbone(folder):
            weights = weights[0], folder / str(about["backbone"]["file"])
        for file in weights:
            _require_whole_tensors(file)
    except (OSError, ValueError, LookupError, TypeError) as problem:
        raise DataError(
            f"{folder}: the model's files are damaged ({problem or type(problem).__name__}); the "
            "command of its study packs it again."
        ) from None


def _require_whole_tensors(file: Path) -> None:
    """Raise `ValueError` unless a safetensors file is as long as its head says."""
    with file.open("rb") as content:
        length = int.from_bytes(content.read(8), "little")
        size = file.stat().st_size - 8 - length
        head: dict[str, Any] = json.loads(content.read(length)) if size >= 0 else {}
    ends = [each["data_offsets"][1] for name, each in head.items() if name != "__metadata__"]
    if size < 0 or size != max(ends, default=0):
        raise ValueError(f"{file.name} is cut short")


def holds_backbone(folder: Path) -> bool:
    """Return whether a package has the backbone's file in its own folder."""
    return (folder / BACKBONE_FILE).is_file()


def shared_backbone(folder: Path) -> tuple[Path, str]:
    """Return the file of the backbone that a package refers to, and its SHA-256."""
    about = json.loads((folder / METADATA_FILE).read_text())["backbone"]
    return folder / about["file"], about["sha256"]


def size_of(folder: Path) -> int:
    """Return the bytes of a package, without a backbone that it shares."""
    return sum(file.stat().st_size for file in folder.iterdir())

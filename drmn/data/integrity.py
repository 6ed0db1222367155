"""Whether the files of a store are as they were written."""

import hashlib
import json
from pathlib import Path


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a store, by name; the manifest has none."""
    files = sorted(file for file in folder.iterdir() if file.name != "manifest.json")
    return {file.name: _digest(file) for file in files}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damaged(folder: Path) -> list[str]:
    """Return the files of the store in `folder` that are not as they were written, or missing.

    Reads every byte: a store may be altered behind its name by a bad disk or a careless copy.
    """
    try:
        written = json.loads((folder / "manifest.json").read_text())["files"]
    except (OSError, ValueError, KeyError):
        return ["manifest.json"]
    now = digests(folder)
    return [name for name, digest in written.items() if now.get(name) != digest]

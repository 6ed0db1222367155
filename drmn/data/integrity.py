"""Whether the files of a store are as they were written."""

import hashlib
import json
from pathlib import Path

from drmn.errors import DataError


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a store, by name; the manifest has none."""
    files = sorted(file for file in folder.iterdir() if file.name != "manifest.json")
    return {file.name: _digest(file) for file in files}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(folder: Path) -> None:
    """Read every byte of the store in `folder` and compare it with what was written.

    Raises:
        DataError: A file is altered or missing; names the first.
    """
    written = json.loads((folder / "manifest.json").read_text())["files"]
    now = digests(folder)
    bad = [name for name, digest in written.items() if now.get(name) != digest]
    if bad:
        raise DataError(
            f"{folder / bad[0]}: not as it was written; delete the folder and run jobs/prepare.py "
            "again."
        )

"""The files of a packed network, without torch: shipping or checking one does not load it."""

import hashlib
from pathlib import Path

METADATA_FILE, WEIGHTS_FILE = "about.json", "model.safetensors"


def package_digest(folder: Path) -> str:
    """Return 16 hex digits that change with any byte of a packed network."""
    seen = hashlib.sha256()
    for name in (METADATA_FILE, WEIGHTS_FILE):
        with (folder / name).open("rb") as file:
            seen.update(hashlib.file_digest(file, "sha256").digest())
    return seen.hexdigest()[:16]

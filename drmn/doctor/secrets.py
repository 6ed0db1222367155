"""Checks that files of secrets cannot be read by others."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from drmn.doctor.finding import Finding

TOKEN = Path("~/.ray/auth_token")


def private(name: str, file: Path, make: str) -> Finding:
    """Return whether a file of a secret exists, and only its owner can read it.

    Args:
        name: Name of the finding.
        file: Path of the file.
        make: Remedy if it does not exist.
    """
    if not file.is_file():
        return Finding(name=name, found=f"no file {file}", remedy=make)
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        return Finding(
            name=name, found=f"{file} can be read by others ({mode:o})", remedy=f"chmod 600 {file}"
        )
    return Finding(name=name, found=f"{file}, its owner's alone")


def secrets() -> Iterator[Finding]:
    """Yield whether the existing secrets of this account are private."""
    passwords = Path(os.environ.get("PGPASSFILE", "~/.pgpass"))
    for name, file in {"token": TOKEN, "PostgreSQL's password": passwords}.items():
        if file.expanduser().exists():
            yield private(name, file.expanduser(), "")

"""Atomic writes of files and folders, which hold after a power loss too."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of files, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, text: str) -> None:
    """Write `text` into `path`, replacing its content; one writer at a time."""
    building = path.with_name(f".{path.name}.new")
    building.write_text(text)
    sync(building)
    building.replace(path)
    sync(path.parent)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold a lock for a `with` block, waiting for it; the system frees it if the process dies."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def put_in_place(folder: Path, place: Path) -> None:
    """Rename a folder to `place`; one of that name is removed, but open files of it stay."""
    if place.exists():
        remove(place)
    os.replace(folder, place)  # noqa: PTH105 - renames a folder in one step, or not at all
    sync(place.parent)


def remove(folder: Path) -> None:
    """Remove a folder: renamed first, so that a part of it is never found under its name."""
    away = folder.with_name(f".{folder.name.removeprefix('.')}{REMOVING}")
    shutil.rmtree(away, ignore_errors=True)
    os.replace(folder, away)  # noqa: PTH105
    shutil.rmtree(away, ignore_errors=True)


REMOVING = ".removing"
"""Suffix of a folder that is being removed; one that is left over may be removed."""

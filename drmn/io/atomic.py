"""Files that are there whole or not at all, after a power loss too."""

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
    """Write `text` into `path`, in place of what it held; one writer at a time."""
    building = path.with_name(f".{path.name}.new")
    building.write_text(text)
    sync(building)
    building.replace(path)
    sync(path.parent)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold a lock for a `with` block, waiting for it; the system lets go if the process dies."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def put_in_place(folder: Path, place: Path) -> None:
    """Give a folder the name `place`; what had it is removed, but stays for whoever has it open."""
    if place.exists():
        remove(place)
    os.replace(folder, place)  # noqa: PTH105 - renames a folder in one step, or not at all
    sync(place.parent)


def remove(folder: Path) -> None:
    """Remove a folder: in one step out of its name, so that a part of it is never met there."""
    away = folder.with_name(f".{folder.name.removeprefix('.')}{REMOVING}")
    shutil.rmtree(away, ignore_errors=True)
    os.replace(folder, away)  # noqa: PTH105
    shutil.rmtree(away, ignore_errors=True)


REMOVING = ".removing"
"""How the name of a folder ends that is being removed; one that is left over may go."""

"""Files below a folder, links to folders followed; and names in one Unicode form."""

import os
import unicodedata
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from drmn.errors import DataError

LEFTOVERS = {
    *("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"),
    *("Thumbs.db", "ehthumbs.db", "desktop.ini"),
}
"""Folders and files that systems and programs leave behind, beside those that begin with a dot."""


def is_leftover(name: str) -> bool:
    """Return whether a file or folder of this name was left behind by a program."""
    return name.startswith(".") or name in LEFTOVERS


def composed(name: str) -> str:
    """Return a name in composed Unicode (NFC); macOS writes accents as separate characters."""
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True, slots=True)
class Below:
    """What is below a folder."""

    files: list[Path] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    """Files and folders that were left out, see `is_leftover`."""
    loops: list[Path] = field(default_factory=list)
    """Links that were not followed: to a folder above, or to one that is among these already."""


def walk(folder: Path) -> Below:
    """Return the files below a folder, the leftovers of programs set apart.

    Links to folders are followed after all else, and each folder is entered once.

    Raises:
        DataError: A folder cannot be read.
    """
    found, links = Below(), deque[Path]()
    waiting = deque([folder])
    entered = {_identity(above) for above in folder.resolve().parents}
    while waiting or links:
        place = waiting.popleft() if waiting else links.popleft()
        if _identity(place) in entered:
            found.loops.append(place)
            continue
        entered.add(_identity(place))
        for entry in _entries(place):
            path = place / entry.name
            if is_leftover(entry.name):
                found.leftovers.append(path)
            elif not entry.is_dir():
                found.files.append(path)
            else:
                (links if entry.is_symlink() else waiting).append(path)
    return found


def _identity(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as problem:
        raise DataError(f"{folder}: cannot be read ({problem.strerror}).") from None

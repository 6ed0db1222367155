"""Lock of a study's folder: one driver at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from drmn.errors import StudyError

LOCK = "lock"
"""File of a study's folder that its driver holds."""


def locked_by(folder: Path) -> int | None:
    """Return the process that holds a study or a run, or None."""
    if not (folder / LOCK).is_file():
        return None
    with (folder / LOCK).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(lock.read() or 0)
    return None


class FolderLock:
    """A study's folder that this process holds.

    Args:
        file: Its lock, opened.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def require_there(self) -> None:
        """Raise `StudyError` if the folder was removed: files in it that are open seem to be whole.

        On a network's disk the name of such a file is gone, on others nothing links to it.
        """
        path = Path(self.file.name)
        if not path.exists() or os.fstat(self.file.fileno()).st_nlink == 0:
            raise StudyError(
                f"{path.parent}: the folder was removed while a process was at work in it; what it "
                "recorded is lost, but for what MLflow has. The same command starts it anew."
            )


@contextmanager
def lock_folder(folder: Path, name: str, *, kind: str = "study") -> Iterator[FolderLock]:
    """Hold a study or a run for a `with` block; the system releases it if the process dies.

    Raises:
        StudyError: Another process holds it; says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StudyError(
                f"{kind.capitalize()} {name} is being run by process {lock.read().strip()}; wait "
                f"for it, or use --{kind} NAME to start another."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield FolderLock(lock)

"""Lock of a study's folder: one driver at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


@contextmanager
def lock_folder(folder: Path, name: str, *, kind: str = "study") -> Iterator[None]:
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
        yield

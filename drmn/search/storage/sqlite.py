"""Records in SQLite, a file in each study's folder."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from drmn.errors import StudyError
from drmn.experiment.lock import locked_by
from drmn.search.storage.names import RECORD, kind_of, record_name
from drmn.search.storage.snapshot import snapshot

if TYPE_CHECKING:
    from drmn.search.storage.disk_full import RetryingStorage


class SqliteStorage:
    """A SQLite file in each study's folder, for drivers of one machine."""

    place = ""

    def lock(self, folder: Path) -> AbstractContextManager[None]:
        """Hold nothing more: the folder's lock is enough."""
        del folder
        return nullcontext()

    def connect(self, folder: Path) -> "RetryingStorage":
        """Return the file, created if need be; each write is on the disk at once."""
        import sqlalchemy  # noqa: PLC0415 - half a second, which a look need not spend

        from drmn.search.storage.disk_full import RetryingStorage  # noqa: PLC0415

        storage = RetryingStorage(f"sqlite:///{(folder / RECORD).absolute()}")
        sqlalchemy.event.listen(storage.engine, "connect", _durable)
        storage.engine.dispose()  # connections made so far lack the settings
        return storage

    def snapshot(self, folder: Path) -> optuna.Study:
        """Return a study as it is now, in memory."""
        name = record_name(folder)
        try:
            found = snapshot(folder / RECORD, name)
        except (KeyError, TypeError, ValueError) as problem:
            raise optuna.exceptions.StorageInternalError(repr(problem)) from None
        return found or optuna.load_study(study_name=name, storage=self.connect(folder))

    @contextmanager
    def explained(self, folder: Path) -> Iterator[None]:
        """Say which record it is that cannot be read in a `with` block."""
        try:
            yield
        except _unreadable() as problem:
            reason = str(problem).splitlines()[0]
            raise StudyError(
                f"{folder / RECORD}: not a readable record ({reason}); put a copy of it back, or "
                f"use --{kind_of(folder)} NAME to start another."
            ) from None

    def names(self, studies: Path) -> list[str]:
        """Return the folders with a record."""
        return sorted(path.parent.name for path in studies.glob(f"*/{RECORD}"))

    def driver(self, folder: Path) -> str:
        """Return the process that holds the folder."""
        pid = locked_by(folder)
        return "" if pid is None else f"process {pid}"


def _unreadable() -> tuple[type[Exception], ...]:
    """Return the errors that a damaged file leads to."""
    from sqlalchemy.exc import DatabaseError  # noqa: PLC0415 - imported where one is raised

    internal = optuna.exceptions.StorageInternalError
    return DatabaseError, internal, sqlite3.DatabaseError, KeyError


def _durable(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")

"""Storages by the scheme of `--storage`: where the records of studies and runs live."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import optuna
import sqlalchemy

from drmn.errors import StudyError
from drmn.experiment.lock import locked_by
from drmn.search.storage import advisory_lock, postgres
from drmn.search.storage.disk_full import RetryingStorage

RECORD = "record.db"
"""File of a study's folder: its record, in SQLite."""
RUNS = "runs"
"""Folder of results, and prefix in a database, that runs are kept in: both may use one name."""


def kind_of(folder: Path) -> str:
    """Return "run" for a folder below results/runs, otherwise "study"."""
    return "run" if folder.parent.name == RUNS else "study"


def record_name(folder: Path) -> str:
    """Return the name of a folder's study in Optuna."""
    return f"{RUNS}/{folder.name}" if kind_of(folder) == "run" else folder.name


@runtime_checkable
class StudyStorage(Protocol):
    """Storage of records. Its errors are `UserError`, in one sentence."""

    place: str
    """Name of it in messages; empty where it is the folder of studies."""

    def lock(self, folder: Path) -> AbstractContextManager[None]:
        """Hold a study for a `with` block, beside the lock of its folder: this process writes.

        Raises:
            StudyError: Another driver holds it; says which.
        """

    def connect(self, folder: Path) -> optuna.storages.BaseStorage:
        """Return Optuna's storage of a study; nothing is written once a lock on it is lost."""

    def explained(self, folder: Path) -> AbstractContextManager[None]:
        """Turn errors of the database in a `with` block into `StudyError`."""

    def names(self, studies: Path) -> list[str]:
        """Return the studies, or runs, of a folder of results."""

    def driver(self, folder: Path) -> str:
        """Return the driver that runs a study, in words; empty if none does."""


class SqliteStorage:
    """A SQLite file in each study's folder, for drivers of one machine."""

    place = ""

    def lock(self, folder: Path) -> AbstractContextManager[None]:
        """Hold nothing more: the folder's lock is enough."""
        del folder
        return nullcontext()

    def connect(self, folder: Path) -> RetryingStorage:
        """Return the file, created if need be; each write is on the disk at once."""
        storage = RetryingStorage(f"sqlite:///{(folder / RECORD).absolute()}")
        sqlalchemy.event.listen(storage.engine, "connect", _durable)
        storage.engine.dispose()  # connections made so far lack the settings
        return storage

    @contextmanager
    def explained(self, folder: Path) -> Iterator[None]:
        """Say which record it is that cannot be read in a `with` block."""
        broken = (sqlalchemy.exc.DatabaseError, optuna.exceptions.StorageInternalError, KeyError)
        try:
            yield
        except broken as problem:
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


class PostgresStorage:
    """A PostgreSQL database that drivers of several machines reach.

    Raises:
        ConfigError: The URL is not whole, or holds a password.
    """

    def __init__(self, url: str) -> None:
        self.text, self.url = url, postgres.parse_url(url)
        self.place = postgres.redacted(self.url)
        self._lock: advisory_lock.StudyLock | None = None

    @contextmanager
    def lock(self, folder: Path) -> Iterator[None]:
        """Hold an advisory lock of the server, on a separate connection."""
        with advisory_lock.lock_in_database(self.text, folder.name, kind_of(folder)) as self._lock:
            yield

    def connect(self, folder: Path) -> RetryingStorage:
        """Return the database; one transaction is on the server's disk before the next starts."""
        del folder
        with postgres.tables_locked(self.url):
            try:
                storage = RetryingStorage(
                    self.url.render_as_string(hide_password=False),
                    engine_kwargs={"connect_args": postgres.connect_args(self.url)},
                )
            except RuntimeError as problem:  # its tables are of another version of Optuna
                raise StudyError(f"--storage {self.place}: {problem}") from None
        sqlalchemy.event.listen(storage.engine, "connect", _committed)
        if (held := self._lock) is not None:
            sqlalchemy.event.listen(storage.engine, "checkout", lambda *_: held.check())
        storage.engine.dispose()
        return storage

    def explained(self, folder: Path) -> AbstractContextManager[None]:
        """Say what is wrong with the server, and the remedy."""
        del folder
        return postgres.explained(self.url)

    def names(self, studies: Path) -> list[str]:
        """Return our studies of this kind; others may keep theirs in the database too."""
        with postgres.explained(self.url):
            found = self.connect(studies).get_all_studies()
        ours = {study.study_name for study in found if "identity" in study.user_attrs}
        names = {name.rpartition("/")[2] for name in ours}
        return sorted(name for name in names if record_name(studies / name) in ours)

    def driver(self, folder: Path) -> str:
        """Return the process and machine that hold the advisory lock."""
        return advisory_lock.driver_in_database(self.text, folder.name, kind_of(folder))


STORAGES: Mapping[str, Callable[[str], StudyStorage]] = {
    "": lambda _: SqliteStorage(),
    "postgresql": PostgresStorage,
}
"""Constructors of storages by the scheme of the URL; "" is SQLite in the study's folder."""


def make_storage(url: str) -> StudyStorage:
    """Return the storage that `--storage` names.

    Raises:
        ConfigError: There is none of this scheme, or the URL is not whole.
    """
    scheme = url.partition("://")[0]
    if scheme not in STORAGES or (url and not scheme):
        postgres.parse_url(url)  # says what is wrong with it
    return STORAGES[scheme](url)


def _durable(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _committed(connection: Any, _: object) -> None:
    """Wait for the server's disk, whatever its own setting is."""
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit TO on")
    connection.commit()

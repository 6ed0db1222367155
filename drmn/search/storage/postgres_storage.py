"""Records in a PostgreSQL database."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from drmn.errors import StudyError
from drmn.search.storage import advisory_lock, postgres
from drmn.search.storage.disk_full import RetryingStorage
from drmn.search.storage.names import kind_of, record_name


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

    def snapshot(self, folder: Path) -> optuna.Study:
        """Return a study as it becomes."""
        return optuna.load_study(study_name=record_name(folder), storage=self.connect(folder))

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


def _committed(connection: Any, _: object) -> None:
    """Wait for the server's disk, whatever its own setting is."""
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit TO on")
    connection.commit()

"""Storages by the scheme of `--storage`: where the records of studies and runs live."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, runtime_checkable

import optuna

from drmn.search.storage.sqlite import SqliteStorage


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

    def snapshot(self, folder: Path) -> optuna.Study:
        """Return a study to be read: as it is now, or as it becomes; nothing is written."""

    def explained(self, folder: Path) -> AbstractContextManager[None]:
        """Turn errors of the database in a `with` block into `StudyError`."""

    def names(self, studies: Path) -> list[str]:
        """Return the studies, or runs, of a folder of results."""

    def driver(self, folder: Path) -> str:
        """Return the driver that runs a study, in words; empty if none does."""


def _postgres(url: str) -> StudyStorage:
    from drmn.search.storage.postgres_storage import PostgresStorage  # noqa: PLC0415 - SQLAlchemy

    return PostgresStorage(url)


STORAGES: Mapping[str, Callable[[str], StudyStorage]] = {
    "": lambda _: SqliteStorage(),
    "postgresql": _postgres,
}
"""Constructors of storages by the scheme of the URL; "" is SQLite in the study's folder."""


def make_storage(url: str) -> StudyStorage:
    """Return the storage that `--storage` names.

    Raises:
        ConfigError: There is none of this scheme, or the URL is not whole.
    """
    scheme = url.partition("://")[0]
    if scheme in STORAGES and (scheme or not url):
        return STORAGES[scheme](url)
    return _postgres(url)  # says what is wrong with it

"""A client of MLflow's store, whose tables one process at a time creates."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from mlflow import MlflowClient
from sqlalchemy.pool import NullPool

from drmn.io import atomic
from drmn.tracking.schema import SchemaError, is_new, schema_problem
from drmn.tracking.uri import SERVER, SQLITE

TABLES_LOCK = 0x64726D6E
"""Key of the lock that a database's server keeps while a process creates MLflow's tables."""
LOCK_WAIT_S = 600
"""Seconds that a process waits for another's tables, on MySQL."""


def connect(uri: str) -> MlflowClient:
    """Return a client of a store; a database that is new gets its tables.

    Two processes would create them at once, and most would fail: it is done under a lock. A SQLite
    file appears with all its tables, or not at all: one of a half would stay like that for ever.

    Raises:
        SchemaError: The database's schema is that of another MLflow.
    """
    if uri.startswith(SERVER):
        return MlflowClient(uri)
    with _alone(uri):
        if is_new(uri):
            _create(Path(uri.removeprefix(SQLITE)))
        if problem := schema_problem(uri):
            raise SchemaError(problem)
        return MlflowClient(uri)


def _create(file: Path) -> None:
    building = file.with_name(f".{file.name}.new")
    building.unlink(missing_ok=True)
    MlflowClient(f"{SQLITE}{building}")
    building.replace(file)


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Hold the lock of a database's tables for a `with` block."""
    if uri.startswith(SQLITE):
        file = Path(uri.removeprefix(SQLITE))
        if not is_new(uri):
            yield  # it is whole: it was built aside and renamed
            return
        with atomic.alone(file.with_name(f".{file.name}.lock")):
            yield
        return
    # The lock is that of the connection, and goes with it.
    with sqlalchemy.create_engine(uri, poolclass=NullPool).connect() as connection:
        if connection.execute(_lock(connection.dialect.name)).scalar() == 0:  # MySQL's time-out
            raise TimeoutError(f"another process has made tables for {LOCK_WAIT_S} s")
        yield


def _lock(dialect: str) -> sqlalchemy.TextClause:
    if dialect == "mysql":
        return sqlalchemy.text(f"SELECT GET_LOCK('{TABLES_LOCK}', {LOCK_WAIT_S})")
    return sqlalchemy.text(f"SELECT pg_advisory_lock({TABLES_LOCK})")

"""PostgreSQL, where it holds the record of studies: its address, and what goes wrong with it."""

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import sqlalchemy
from sqlalchemy import URL, Engine, text

from drmn.errors import ConfigError, StudyError
from drmn.fields import refuse_password

DRIVER = "postgresql+psycopg2"
"""Named in full: SQLAlchemy's own choice has changed between versions."""
EXAMPLE_URL = "postgresql://user@host/database"
CONNECT_TIMEOUT_S = 10
"""Seconds that a server is given to answer."""
TABLES_LOCK = "drmn tables"
"""Lock held while Optuna's tables are created: two drivers that start would create them twice."""


def parse_url(storage: str) -> URL:
    """Return the database that `--storage` names, without a check that it exists.

    Raises:
        ConfigError: It is no such URL, or holds a password: every user of a machine can read
            command lines, and Ray keeps them. None of the messages repeats what might be one.
    """
    scheme, found, _ = storage.partition("://")
    if not found:
        raise ConfigError(
            f"--storage must be {EXAMPLE_URL}; got no URL. The folder of results is --results."
        )
    if scheme != "postgresql":
        raise ConfigError(
            f"--storage must be {EXAMPLE_URL}, or left out for SQLite in the study's folder; "
            f"got {scheme}://."
        )
    try:
        url = sqlalchemy.make_url(storage)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ConfigError(
            f"--storage must be {EXAMPLE_URL}; got a URL that is not whole."
        ) from None
    refuse_password("--storage", storage, "~/.pgpass or PGPASSWORD")
    if not url.database:
        raise ConfigError(f"--storage must be {EXAMPLE_URL}; got no database.")
    return url.set(drivername=DRIVER)


def redacted(url: URL) -> str:
    """Return a database's address as messages show it."""
    plain = url.set(drivername="postgresql", query={}, host=url.host or _socket(url))
    return plain.render_as_string()


def _socket(url: URL) -> str | None:
    host = url.query.get("host")
    return host if isinstance(host, str) else None


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn errors of the server in a `with` block into a `StudyError` of one sentence."""
    try:
        yield
    except (sqlalchemy.exc.DBAPIError, optuna.exceptions.StorageInternalError) as problem:
        reason = _reason(problem)
        raise StudyError(f"--storage {redacted(url)}: {reason}; {_remedy(reason)}.") from None


def _reason(problem: BaseException) -> str:
    """Return the line that says most: libpq writes several for each address that it tried."""
    inner = problem.__cause__ if isinstance(problem.__cause__, sqlalchemy.exc.DBAPIError) else None
    own = getattr(inner or problem, "orig", None) or problem
    lines = str(own).strip().splitlines() or [type(own).__name__]
    return next((line for line in lines if "FATAL" in line), lines[0]).strip().rstrip(".")


def _remedy(reason: str) -> str:
    if "password" in reason:
        return "put the right one into ~/.pgpass or PGPASSWORD"
    if "database" in reason and "does not exist" in reason:
        return "createdb makes it"
    if "permission denied" in reason:
        return "the user needs the right to make tables there"
    return "see that the server is there and lets this user and machine in"


def check_connection(storage: str) -> None:
    """Raise `UserError` if the database cannot be reached."""
    url = parse_url(storage)
    with explained(url), create_engine(url).connect():
        pass


def create_engine(url: URL) -> Engine:
    """Return an engine whose connections carry the name of this process."""
    try:
        return sqlalchemy.create_engine(
            url,
            poolclass=sqlalchemy.NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args=connect_args(url),
        )
    except ImportError as problem:
        raise ConfigError(
            f"--storage {redacted(url)}: {problem}; pip install -e '.[postgres]' installs it."
        ) from None


def connect_args(url: URL) -> dict[str, str | int]:
    """Return the arguments of every connection."""
    name = f"drmn {os.getpid()}@{socket.gethostname()}"  # the server cuts it after 63 bytes
    wait = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_TIMEOUT_S}
    return {"application_name": name, **wait}


@contextmanager
def tables_locked(url: URL) -> Iterator[None]:
    """Let no other driver look for Optuna's tables during a `with` block."""
    with create_engine(url).connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": lock_key(TABLES_LOCK)})
        yield


def lock_key(what: str) -> int:
    """Return the number by which PostgreSQL knows a lock: 64 bits with a sign."""
    return int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big", signed=True)

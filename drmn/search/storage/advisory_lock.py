"""Lock of a study whose record is in PostgreSQL: one driver at a time, on any machine.

It is an advisory lock of a separate session, which the server releases when the driver dies.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy
from sqlalchemy import URL, Connection, text

from drmn.errors import StudyError
from drmn.search.storage.postgres import create_engine, explained, lock_key, parse_url, redacted

ATTEMPTS = 10
"""Attempts to lock a study, a second in all: the server notices a driver's death with a delay."""
WATCHFUL = """
    SELECT set_config(name, value, false) FROM pg_settings JOIN (VALUES
        ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'),
        ('tcp_keepalives_count', '3'), ('idle_session_timeout', '0')
    ) AS wanted (name, value) USING (name)
"""
"""Session settings: one that is idle for days is kept, and one whose machine is gone ends in a
minute (by default after two hours)."""
HOLDER_QUERY = """
    SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted
        AND (classid::bigint << 32) + objid::bigint = :key
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class StudyLock:
    """A study or run that this driver holds, as long as the connection lives."""

    def __init__(self, url: URL, title: str, connection: Connection) -> None:
        self.url, self.title, self._connection = url, title, connection
        self._one_at_a_time, self._lost = threading.Lock(), False

    def check(self) -> None:
        """Raise `StudyError` if the server has released the lock: another driver may hold it."""
        with self._one_at_a_time:
            if not self._lost:  # SQLAlchemy would connect again, and hold nothing
                self._lost = not self._answers()
        if self._lost:
            raise StudyError(
                f"--storage {redacted(self.url)}: the connection that holds {self.title} is "
                "lost; the same command resumes it once the server answers."
            )

    def _answers(self) -> bool:
        try:
            self._connection.execute(text("SELECT 1"))
        except sqlalchemy.exc.SQLAlchemyError:
            return False
        return True


@contextmanager
def lock_in_database(storage: str, name: str, kind: str = "study") -> Iterator[StudyLock]:
    """Hold a study or run of a database for a `with` block.

    Raises:
        StudyError: Another driver holds it, and it says which; or the server does not answer.
    """
    url = parse_url(storage)
    with explained(url), create_engine(url).connect() as connection:
        connection.execute(text(WATCHFUL))
        title = f"{kind} {name}"
        if not _locked(connection, title):
            raise StudyError(
                f"{kind.capitalize()} {name} in {redacted(url)} is being run by "
                f"{_holder(connection, title) or 'a driver that is just ending'}; wait for it, or "
                f"use --{kind} NAME to start another."
            )
        yield StudyLock(url, title, connection)


def _locked(connection: Connection, title: str) -> bool:
    """Return whether this connection holds a study; waits a little for a driver that just died."""
    for attempt in range(ATTEMPTS):
        time.sleep(0.1 * bool(attempt))
        if connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), _named(title)):
            return True
    return False


def driver_in_database(storage: str, name: str, kind: str = "study") -> str:
    """Return the driver that holds a study or run of a database, in words; empty if none does."""
    url = parse_url(storage)
    with explained(url), create_engine(url).connect() as connection:
        return _holder(connection, f"{kind} {name}")


def _holder(connection: Connection, title: str) -> str:
    known = connection.scalar(text(HOLDER_QUERY), _named(title))
    pid, _, host = str(known or "").removeprefix("drmn ").partition("@")
    return f"process {pid} on {host}" if known else ""


def _named(title: str) -> dict[str, int]:
    return {"key": lock_key(f"drmn {title}")}

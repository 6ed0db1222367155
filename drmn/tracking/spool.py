"""A durable queue of what MLflow is to be told.

The search puts events into it and goes on; a shipper in another process takes them out. An event
has a key: put again, it changes nothing, so whoever is unsure tells it once more. It is a queue and
no archive: of what was shipped only the key stays, and all of it can be told again from the record.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

Event = Mapping[str, Any]
MOST_BYTES = 256 * 2**20
"""A spool's size at most: some two million epochs that MLflow has not taken."""

SPOOL_TABLES = (
    # Ids rise for ever: a number that was given out once is nobody else's.
    "waiting (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL)",
    "told (key TEXT PRIMARY KEY) WITHOUT ROWID",
    "runs (key TEXT PRIMARY KEY, id TEXT NOT NULL)",
)


def open_spool(path: Path) -> "Spool":
    """Open a spool; one that is damaged is put aside, since a record can fill another."""
    try:
        return Spool(path)
    except sqlite3.DatabaseError:
        path.replace(path.with_suffix(".damaged"))
        return Spool(path)


class Spool:
    """The queue in one SQLite file; any number of processes may have it open.

    Args:
        path: Of the file.
        most_bytes: It grows no larger; what finds no room is counted in `missed` and left to
            `python jobs/sync.py`, as where the disk is full: no search ends of that.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self.missed = 0
        """Events that found no room."""
        self._inside = 0
        # Autocommit: a put is on disk when it returns.
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        for table in SPOOL_TABLES:
            self._db.execute(f"CREATE TABLE IF NOT EXISTS {table}")
        page = int(self._db.execute("PRAGMA page_size").fetchone()[0])
        self._db.execute(f"PRAGMA max_page_count={max(1, most_bytes // page)}")

    def put(self, key: str, event: Event) -> None:
        """Add an event, unless one with its key was put before."""
        if self._db.in_transaction:
            self._insert(key, event)
            return
        with self.together():
            self._insert(key, event)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Put all events of a `with` block on disk at once, in one commit."""
        self._db.execute("BEGIN IMMEDIATE")
        self._inside = 0
        try:
            yield
            if self._db.in_transaction:
                self._db.execute("COMMIT")
        except sqlite3.OperationalError as problem:
            _full(problem)
            self.missed += self._inside
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _insert(self, key: str, event: Event) -> None:
        self._db.execute("SAVEPOINT one")
        try:
            if self._db.execute("INSERT OR IGNORE INTO told VALUES (?)", (key,)).rowcount:
                self._db.execute("INSERT INTO waiting (body) VALUES (?)", (json.dumps(event),))
                self._inside += 1
        except sqlite3.OperationalError as problem:
            _full(problem)
            self.missed += 1
            if self._db.in_transaction:
                self._db.execute("ROLLBACK TO one")
            else:  # SQLite took back all that was put together
                self.missed, self._inside = self.missed + self._inside, 0
        if self._db.in_transaction:
            self._db.execute("RELEASE one")

    def waiting(self, limit: int = 500) -> list[tuple[int, Event]]:
        """Return the oldest events that are not shipped, with their ids."""
        rows = self._db.execute("SELECT id, body FROM waiting ORDER BY id LIMIT ?", (limit,))
        return [(number, json.loads(body)) for number, body in rows]

    def shipped(self, numbers: list[int], runs: Mapping[str, str]) -> None:
        """Take out events that were shipped, and note MLflow's ids of `runs` by our keys."""
        with closing(self._db.cursor()) as cursor, self._db:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany("DELETE FROM waiting WHERE id = ?", [(n,) for n in numbers])
            cursor.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?)", runs.items())

    def runs(self) -> dict[str, str]:
        """Return MLflow's ids of the runs that it has, by our keys."""
        return dict(self._db.execute("SELECT key, id FROM runs"))

    def clear(self) -> None:
        """Forget all, and that it was shipped: it is about to be told anew."""
        with self.together():
            for table in ("told", "waiting", "runs"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608

    @property
    def count(self) -> int:
        """The number of events that wait."""
        return int(self._db.execute("SELECT count(*) FROM waiting").fetchone()[0])

    @property
    def any_shipped(self) -> bool:
        """Whether MLflow has ever taken anything."""
        return self._db.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is not None

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _full(problem: sqlite3.OperationalError) -> None:
    """Raise a problem unless it is that there is no room."""
    if problem.sqlite_errorcode != sqlite3.SQLITE_FULL:
        raise problem

"""A durable queue of what MLflow is to be told.

The search puts events into it and goes on; a shipper in another process takes them out. An event
has a key: put again, it changes nothing, so whoever is unsure tells it once more.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

Event = Mapping[str, Any]


def open_spool(path: Path) -> "Spool":
    """Open a spool; one that is damaged is put aside, since a record can fill another."""
    try:
        return Spool(path)
    except sqlite3.DatabaseError:
        path.replace(path.with_suffix(".damaged"))
        return Spool(path)


class Spool:
    """The queue in one SQLite file; any number of processes may have it open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Autocommit: a put is on disk when it returns.
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL,"
            " body TEXT NOT NULL, shipped INTEGER NOT NULL DEFAULT 0)"
        )

    def put(self, key: str, event: Event) -> None:
        """Add an event, unless one with its key was put before."""
        self._db.execute(
            "INSERT OR IGNORE INTO events (key, body) VALUES (?, ?)", (key, json.dumps(event))
        )

    @contextmanager
    def together(self) -> Iterator[None]:
        """Put all events of a `with` block on disk at once, in one commit."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def waiting(self, limit: int = 500) -> list[tuple[int, Event]]:
        """Return the oldest events that are not shipped, with their ids."""
        rows = self._db.execute(
            "SELECT id, body FROM events WHERE shipped = 0 ORDER BY id LIMIT ?", (limit,)
        )
        return [(number, json.loads(body)) for number, body in rows]

    def shipped(self, numbers: list[int]) -> None:
        """Mark events as shipped."""
        with closing(self._db.cursor()) as cursor:
            cursor.executemany(
                "UPDATE events SET shipped = 1 WHERE id = ?", [(n,) for n in numbers]
            )

    def again(self) -> None:
        """Mark all events as not shipped: MLflow's database was lost."""
        self._db.execute("UPDATE events SET shipped = 0")

    @property
    def count(self) -> int:
        """The number of events that wait."""
        return int(self._db.execute("SELECT count(*) FROM events WHERE shipped = 0").fetchone()[0])

    @property
    def any_shipped(self) -> bool:
        """Whether MLflow has ever taken anything."""
        return (
            self._db.execute("SELECT 1 FROM events WHERE shipped = 1 LIMIT 1").fetchone()
            is not None
        )

    def close(self) -> None:
        """Close the file."""
        self._db.close()

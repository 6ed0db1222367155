"""A durable queue of events for MLflow.

The search puts events into it and does not wait; a shipper in another process takes them out. An
event put again under its key changes nothing, so a caller that is unsure may repeat it. It is a
queue and no archive: only keys of shipped events stay, and all can be logged again from the record.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

Event = Mapping[str, Any]
Refusal = tuple[Event, str]
"""An event that MLflow refuses however often it is sent, and its reason."""
MOST_BYTES = 256 * 2**20
"""Maximum size of a spool: some two million epochs that were not shipped."""

SPOOL_TABLES = (
    # Ids only rise: none is used twice.
    "waiting (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL)",
    "told (key TEXT PRIMARY KEY) WITHOUT ROWID",
    "runs (key TEXT PRIMARY KEY, id TEXT NOT NULL)",
    "refused (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, why TEXT NOT NULL)",
    "shipper (only INTEGER PRIMARY KEY CHECK (only = 0), body TEXT NOT NULL)",
)


class ShipperState(NamedTuple):
    """How far the shipper of a spool has come."""

    pid: int = 0
    """Its process; 0 if there was none yet."""
    tried: bool = False
    """Whether it has started and tried to send: that may take a minute on a busy machine."""
    text: str = ""
    """Why MLflow takes nothing; empty if it does."""
    lasting: bool = False
    """Whether that stays until somebody does something about it."""


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
        path: Path of the file.
        most_bytes: Maximum size; events that do not fit, or find the disk full, are counted in
            `missed` and left to `python jobs/sync.py`: no search fails for that.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self.missed = 0
        """Number of events that did not fit."""
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
        """Write all events of a `with` block in one commit."""
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
            else:  # SQLite rolled back the whole transaction
                self.missed, self._inside = self.missed + self._inside, 0
        if self._db.in_transaction:
            self._db.execute("RELEASE one")

    def waiting(self, limit: int = 500) -> list[tuple[int, Event]]:
        """Return the oldest events that are not shipped, with their ids."""
        rows = self._db.execute("SELECT id, body FROM waiting ORDER BY id LIMIT ?", (limit,))
        return [(number, json.loads(body)) for number, body in rows]

    def shipped(
        self, numbers: list[int], runs: Mapping[str, str], refused: Sequence[Refusal] = ()
    ) -> None:
        """Remove events that were shipped, and record MLflow's ids of `runs` by our keys.

        Those that MLflow has refused among them are kept apart, with its reason.
        """
        kept = [(json.dumps(event), why) for event, why in refused]
        with closing(self._db.cursor()) as cursor, self._db:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany("DELETE FROM waiting WHERE id = ?", [(n,) for n in numbers])
            cursor.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?)", runs.items())
            cursor.executemany("INSERT INTO refused (body, why) VALUES (?, ?)", kept)

    @property
    def refused(self) -> list[Refusal]:
        """The events that MLflow has refused for good, and why."""
        rows = self._db.execute("SELECT body, why FROM refused ORDER BY id")
        return [(json.loads(body), why) for body, why in rows]

    @property
    def shipper(self) -> ShipperState:
        """The state of the latest shipper."""
        row = self._db.execute("SELECT body FROM shipper").fetchone()
        return ShipperState(*json.loads(row[0])) if row else ShipperState()

    def claim(self, pid: int) -> None:
        """Make a process the shipper, in place of any other; a full disk does not matter."""
        with suppress(sqlite3.OperationalError):
            state = json.dumps(ShipperState(pid))
            self._db.execute("INSERT OR REPLACE INTO shipper VALUES (0, ?)", (state,))

    def note_shipper(self, state: ShipperState) -> None:
        """Write the state of a shipper, unless another process has claimed the spool since."""
        with suppress(sqlite3.OperationalError):
            self._db.execute(
                "INSERT INTO shipper VALUES (0, ?) ON CONFLICT (only) DO UPDATE"
                " SET body = excluded.body WHERE json_extract(body, '$[0]') = ?",
                (json.dumps(state), state.pid),
            )

    def runs(self) -> dict[str, str]:
        """Return MLflow's ids of the runs that it has, by our keys."""
        return dict(self._db.execute("SELECT key, id FROM runs"))

    def clear(self) -> None:
        """Delete all events, keys and run ids: all are about to be logged again."""
        with self.together():
            for table in ("told", "waiting", "runs", "refused", "shipper"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608

    @property
    def count(self) -> int:
        """The number of events that wait."""
        return int(self._db.execute("SELECT count(*) FROM waiting").fetchone()[0])

    @property
    def any_shipped(self) -> bool:
        """Whether anything was ever shipped."""
        return self._db.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is not None

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _full(problem: sqlite3.OperationalError) -> None:
    """Raise an error unless it is that the disk or the spool is full."""
    if problem.sqlite_errorcode != sqlite3.SQLITE_FULL:
        raise problem

"""Cache of facts about files, in SQLite; losing it does no harm."""

import sqlite3
from pathlib import Path

from drmn.errors import DataError


def opened(known: Path, table: str) -> sqlite3.Connection:
    """Return the cache in `known` with its `table`; one that cannot be read is replaced."""
    known.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        memory = sqlite3.connect(known, timeout=60)
        try:
            memory.execute(table)
        except sqlite3.DatabaseError as problem:
            memory.close()
            if isinstance(problem, sqlite3.OperationalError):  # locked, or the disk is full
                raise DataError(
                    f"{known}: {problem}; make room, or give --results a folder that may be "
                    "written to."
                ) from None
            known.unlink()
        else:
            return memory
    raise DataError(f"{known}: cannot be made anew; remove it.")

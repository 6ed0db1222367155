"""The digest of a large file, cached while its size and time of change are the same."""

import hashlib
from contextlib import closing
from pathlib import Path

from drmn.io import sqlite_cache
from drmn.io.progress import Progress

PIECE = 16 << 20
"""Bytes read at a time."""

_TABLE = """CREATE TABLE IF NOT EXISTS files (
    file TEXT PRIMARY KEY, bytes INTEGER, changed INTEGER, digest TEXT)"""


def digest(file: Path, known: Path, progress: Progress = lambda *_: None) -> str:
    """Return 16 hex digits of SHA-256 of a file's content.

    Args:
        file: The file.
        known: SQLite file of the cache.
        progress: Called with the MB that are read, of how many.
    """
    stat = file.stat()
    state = (str(file.absolute()), stat.st_size, stat.st_mtime_ns)
    with closing(sqlite_cache.opened(known, _TABLE)) as remembered:
        query = "SELECT digest FROM files WHERE file = ? AND bytes = ? AND changed = ?"
        row = remembered.execute(query, state).fetchone()
    if row is not None:
        return str(row[0])
    made = _hashed(file, stat.st_size, progress)
    with closing(sqlite_cache.opened(known, _TABLE)) as remembered, remembered:
        remembered.execute("REPLACE INTO files VALUES (?,?,?,?)", (*state, made))
    return made


def _hashed(file: Path, size: int, progress: Progress) -> str:
    seen, done = hashlib.sha256(), 0
    with file.open("rb") as content:
        while piece := content.read(PIECE):
            seen.update(piece)
            done += len(piece)
            progress(done // 10**6, max(1, size // 10**6))
    return seen.hexdigest()[:16]


def tables(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each of a store's tables, by name."""
    files = [f for f in sorted(folder.iterdir()) if f.suffix in (".parquet", ".safetensors")]
    return {file.name: _digest(file) for file in files}


def _digest(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Digests of files and of SQLite tables: results that are there and whole are not made again.

They find accidents, not forgeries: XXH3, ten times as fast as SHA-256.
"""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import xxhash

from drmn.io import atomic
from drmn.io.folders import walk


def digest_of(file: Path) -> str:
    """Return a digest of a file's content; empty if it cannot be read."""
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, xxhash.xxh3_128).hexdigest()
    except OSError:
        return ""


def files_below(place: Path, leave: Collection[str] = ()) -> list[Path]:
    """Return the files of a folder, or the file `place` itself, without those of these names."""
    found = sorted(place.rglob("*")) if place.is_dir() else [place]
    return [file for file in found if file.is_file() and file.name not in leave]


def stats_below(folder: Path, most: int) -> str:
    """Return a digest of names, sizes and times of change below a folder.

    Links to folders are followed. Empty if it has more than `most` files: reading all of them would
    take too long.
    """
    seen = xxhash.xxh3_128()
    files = walk(folder).files if folder.is_dir() else [folder]
    for count, file in enumerate(sorted(filter(Path.is_file, files)), start=1):
        if count > most:
            return ""
        stat = file.stat()
        seen.update(
            f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="surrogateescape")
        )
    return seen.hexdigest()


def rows_of(database: Path, tables: Iterable[str] = (), about: Collection[str] = ()) -> str:
    """Return a digest of the rows of a SQLite file; empty if it cannot be read.

    Its bytes may change though its rows do not: SQLite moves them from its journal at any time.

    Args:
        database: The file.
        tables: Tables to read; by default all.
        about: Values of which a row must have one; by default all rows count.
    """
    if not database.is_file():
        return ""
    seen, known = xxhash.xxh3_128(), set(about)
    try:
        with closing(sqlite3.connect(database, timeout=5)) as opened:
            named = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
            for name in list(tables) or [name for (name,) in opened.execute(named)]:
                seen.update(name.encode())
                for row in opened.execute(f'SELECT * FROM "{name}"'):  # noqa: S608 - its own names
                    if not about or not known.isdisjoint(row):
                        seen.update(repr(row).encode(errors="surrogateescape"))
    except sqlite3.DatabaseError:
        return ""
    return seen.hexdigest()


def _note(place: Path) -> Path:
    return place.with_name(f".{place.name}.made")


def note_made(place: Path, of: Mapping[str, Any]) -> None:
    """Write beside a file or folder its inputs `of`, and the digests of its content."""
    files = {str(file.relative_to(place.parent)): digest_of(file) for file in files_below(place)}
    atomic.write(_note(place), json.dumps({"of": of, "files": files}, indent=1))


def noted_below(folder: Path) -> dict[Path, str]:
    """Return the files below a folder that have a note of `note_made`, with their digests.

    A note that cannot be read is among them, with an empty one.
    """
    found: dict[Path, str] = {}
    for note in sorted(folder.rglob(_note(Path("*")).name)):
        try:
            files: Mapping[str, str] = json.loads(note.read_text())["files"]
            found |= {note.parent / name: digest for name, digest in files.items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            found[note] = ""
    return found


def remove_made(place: Path) -> None:
    """Remove a file or folder that may be there, and its note."""
    _note(place).unlink(missing_ok=True)
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)


def is_made(place: Path, of: Mapping[str, Any]) -> bool:
    """Return whether a file or folder is unchanged since `note_made`, with the same inputs."""
    try:
        note = json.loads(_note(place).read_text())
    except (OSError, ValueError):
        return False
    files = {str(file.relative_to(place.parent)): digest_of(file) for file in files_below(place)}
    return bool(files) and note == {"of": dict(of), "files": files}

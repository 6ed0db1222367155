"""Check of every image, decoded once: its digest and size, or its problem."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drmn.data.images.decode import Photo, load
from drmn.data.images.pixels import is_converted
from drmn.errors import DataError
from drmn.io import sqlite_cache
from drmn.io.progress import Progress

LEAST_SIDE = 16
"""Pixels: smaller images show nothing, and are mostly placeholders for photos taken down."""
AT_A_TIME = 256
"""Images between two commits, which an interrupted check has to repeat at most."""


_TABLE = """CREATE TABLE IF NOT EXISTS photos (
    file TEXT, box TEXT, bytes INTEGER, changed INTEGER,
    digest TEXT, height INTEGER, width INTEGER, problem TEXT, PRIMARY KEY (file, box))"""


_CONVERTED = b"converted"
"""Part of the digest of photos that are turned upright or have 16 bits: features that were made
before they were are of other pixels, and must not be taken for theirs."""


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """Result of the check of some images."""

    digests: tuple[str, ...]
    """16 hex digits of SHA-256 of each file's content, and of its conversion if it has one."""
    sizes: npt.NDArray[np.int64]
    """[image, 2]: height and width; 0 for one that cannot be read."""
    problems: dict[int, str]
    """Error messages, by place."""


def inspect(
    photos: Sequence[Photo], known: Path, progress: Progress = lambda *_: None
) -> Inspection:
    """Read and decode each image, unless it is in the cache and has not changed since.

    Args:
        photos: The images.
        known: SQLite file of the cache. A file counts as unchanged while its size and its time of
            change are the same.
        progress: Called after each few images.
    """
    rows: list[_Found] = []
    with closing(sqlite_cache.opened(known, _TABLE)) as remembered, ThreadPoolExecutor() as pool:
        before = {(row[0], row[1]): row for row in remembered.execute("SELECT * FROM photos")}
        for start in range(0, len(photos), AT_A_TIME):
            part = photos[start : start + AT_A_TIME]
            # Hashing and decoding let other threads run.
            found = list(pool.map(lambda photo: _look(photo, before), part))
            new = [row for row in found if before.get(row[:2]) != row]
            if new:
                remembered.executemany("REPLACE INTO photos VALUES (?,?,?,?,?,?,?,?)", new)
                remembered.commit()
            rows += found
            progress(len(rows), len(photos))
    return Inspection(
        tuple(row[4] for row in rows),
        np.array([row[5:7] for row in rows], dtype=np.int64).reshape(-1, 2),
        {i: row[7] for i, row in enumerate(rows) if row[7]},
    )


_Found = tuple[str, str, int, int, str, int, int, str]


def _look(photo: Photo, before: dict[tuple[str, str], _Found]) -> _Found:
    name, box = str(photo.file.absolute()), str(photo.box or "")
    try:
        return _found(photo, name, box, before)
    except OSError as problem:  # a dangling link, no right to read it
        reason = f"{photo.file}: not a readable image ({problem.strerror})."
        return name, box, 0, 0, "", 0, 0, reason


def _found(photo: Photo, name: str, box: str, before: dict[tuple[str, str], _Found]) -> _Found:
    stat = photo.file.stat()
    old = before.get((name, box))
    if old is not None and old[2:4] == (stat.st_size, stat.st_mtime_ns):
        return old
    content = photo.file.read_bytes()
    digest = hashlib.sha256(content + _CONVERTED * is_converted(content)).hexdigest()[:16]
    height, width, problem = _decode(photo)
    return name, box, stat.st_size, stat.st_mtime_ns, digest, height, width, problem


def _decode(photo: Photo) -> tuple[int, int, str]:
    try:
        _, height, width = load(photo.file, photo.box).shape
    except DataError as mistake:
        return 0, 0, str(mistake)
    if min(height, width) < LEAST_SIDE:
        return height, width, f"{photo.file}: only {width} x {height} pixels."
    return height, width, ""


def same(digests: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the places of images with the content of an earlier one, each with that one's place."""
    first: dict[str, int] = {}
    for place, digest in enumerate(digests):
        if first.setdefault(digest, place) != place:
            yield first[digest], place

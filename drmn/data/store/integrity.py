"""Integrity check of a store: each shard of each level, and the tables beside them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from drmn.data.store.feature_store import MANIFEST, level_file, manifest_of
from drmn.data.store.shards import Shards
from drmn.errors import DataError
from drmn.io.file_digest import _digest
from drmn.io.progress import Progress

Digests = Mapping[str, str]
"""Digests of one shard in each level, by stride."""


@dataclass(frozen=True, slots=True)
class IntegrityReport:
    """Result of the check of a store."""

    shards: dict[int, Digests]
    """Shards that are intact in every level."""
    damage: tuple[str, ...]
    """Damaged parts, such as "level-16.arrow, shard 3"."""


def check(folder: Path, progress: Progress = lambda *_: None) -> IntegrityReport:
    """Compare every byte of the store in `folder` with its manifest.

    A bad disk or a careless copy may alter a store that keeps its name.
    """
    try:
        manifest = manifest_of(folder)
        written: Mapping[str, list[str]] = manifest["shards"]
        tables: Mapping[str, str] = manifest["files"]
    except (DataError, KeyError):
        return IntegrityReport({}, (MANIFEST,))
    damage = [name for name, digest in tables.items() if _digest(folder / name) != digest]
    bad: set[int] = set()
    every, done = sum(map(len, written.values())), 0
    for stride, digests in written.items():
        checked = partial(_later, progress, done, every)
        wrong = _differing(level_file(folder, stride), digests, checked)
        done += len(digests)
        bad |= set(wrong)
        damage += [f"{level_file(folder, stride).name}, shard {i}" for i in wrong]
    count = len(next(iter(written.values())))
    intact: dict[int, Digests] = {
        i: {s: d[i] for s, d in written.items()} for i in range(count) if i not in bad
    }
    return IntegrityReport(intact, tuple(damage))


def _later(progress: Progress, before: int, every: int, done: int) -> None:
    progress(before + done, every)


def _differing(path: Path, digests: list[str], checked: Callable[[int], None]) -> list[int]:
    try:
        return Shards(path).differing(digests, checked)
    except (DataError, ValueError):  # missing, not whole, or of another number of shards
        return list(range(len(digests)))


def summary(damage: tuple[str, ...]) -> str:
    """Return a phrase that names the first damaged part and counts the rest."""
    more = f" and {len(damage) - 1} more" if len(damage) > 1 else ""
    return f"{damage[0]}{more}"

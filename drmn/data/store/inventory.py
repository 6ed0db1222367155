"""Inventory of a folder's feature stores: listing and pruning."""

import fcntl
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from drmn.data.store.feature_key import MANIFEST, USED, FeatureKey, key_of, manifest_of
from drmn.data.store.journal import PLAN, journal
from drmn.errors import DataError
from drmn.io import atomic


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """A store, finished or not."""

    folder: Path
    key: FeatureKey
    images: int
    bytes: int
    """Bytes on the disk."""
    used: float
    """When it was last opened, in seconds since 1970."""
    done: float
    """Share of its shards that are finished."""
    whole: bool
    """Whether it is published; an unfinished one is not, even with all its shards."""


def list_stores(root: Path) -> list[StoreInfo]:
    """Return the stores in `root`, whole or not, the one used last first."""
    found = [*_whole(root), *_in_the_making(root)]
    return sorted(found, key=lambda kept: kept.used, reverse=True)


def _whole(root: Path) -> Iterator[StoreInfo]:
    for file in root.glob(f"[!.]*/{MANIFEST}"):
        folder = file.parent
        try:
            manifest = manifest_of(folder)
            key, images = key_of(manifest), manifest["images"]
        except (DataError, KeyError, TypeError):  # another program's manifest
            continue
        used = folder / USED
        when = (used if used.exists() else file).stat().st_mtime
        yield StoreInfo(folder, key, images, _bytes(folder), when, 1.0, whole=True)


def _in_the_making(root: Path) -> Iterator[StoreInfo]:
    for file in root.glob(f".*.building/{PLAN}"):
        folder = file.parent
        try:
            plan = json.loads(file.read_text())
            key, shards = key_of(plan), plan["shards"]
        except (ValueError, KeyError, TypeError):  # an earlier version's
            continue
        images, share = plan["rows"] // (1 + key.views), len(journal(folder)) / shards
        when = folder.stat().st_mtime
        yield StoreInfo(folder, key, images, _bytes(folder), when, share, whole=False)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.iterdir())


def prune(root: Path, most: int) -> list[StoreInfo]:
    """Remove stores until they take `most` bytes at most; return those removed.

    Unfinished ones that no process builds are removed first, then the least recently used. A store
    that a process has open stays. Weights that no store needs any more are removed too.
    """
    for left in root.glob(f".*{atomic.REMOVING}"):
        shutil.rmtree(left, ignore_errors=True)
    kept, removed = list_stores(root), []
    total = sum(store.bytes for store in kept)
    for store in sorted(kept, key=lambda store: (store.whole, store.used)):
        if total <= most:
            break
        if _removed(root, store):
            total -= store.bytes
            removed.append(store)
    needed = {store.key.weights for store in list_stores(root)}
    for file in root.glob("weights-*.safetensors"):
        if removed and file.stem.removeprefix("weights-") not in needed:
            file.unlink()
    return removed


def _removed(root: Path, store: StoreInfo) -> bool:
    """Remove a store unless a process reads or builds it; return whether it is gone."""
    whole = store.folder / USED
    file = whole if store.whole else root / ".locks" / store.key.folder
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        atomic.remove(store.folder)
    return True

"""A machine's local copy of a feature store, copied once from the shared storage.

A store is named by its content, so a copy that is whole is the store. The first process that needs
it copies it; others on the machine wait for that.
"""

import logging
import os
import shutil
from pathlib import Path

from drmn.data.store import integrity, inventory
from drmn.data.store.feature_store import MANIFEST, USED
from drmn.errors import DataError
from drmn.io import atomic

SCRATCH = "DRMN_SCRATCH"
"""The environment variable of a folder on a local disk of the machine."""
_KNOWN: set[tuple[Path, int]] = set()
"""Copies that this process has found whole, by their manifest's time."""

logger = logging.getLogger(__name__)


def scratch() -> Path | None:
    """Return the folder of this machine's local copies; None if it has none."""
    place = os.environ.get(SCRATCH)
    return Path(place) / "features" if place else None


def local_copy(store: Path) -> Path:
    """Return this machine's local copy of a store; the store itself without DRMN_SCRATCH or space.

    Raises:
        DataError: The shared store is damaged.
    """
    root = scratch()
    if root is None:
        return store
    place = root / store.name
    if _is_whole(place):
        return place
    root.mkdir(parents=True, exist_ok=True)
    with atomic.alone(root / ".locks" / store.name):
        if _is_whole(place) or _bring(store, place):
            return place
    return store


def _is_whole(place: Path) -> bool:
    """Return whether a copy is undamaged; each process checks it once."""
    manifest = place / MANIFEST
    if not manifest.is_file():
        return False
    key = place, manifest.stat().st_mtime_ns
    if key not in _KNOWN and not integrity.check(place).damage:
        _KNOWN.add(key)
    return key in _KNOWN


def _bring(store: Path, place: Path) -> bool:
    """Copy a store and compare every byte; return False if there is no disk space for it."""
    need = sum(file.stat().st_size for file in store.iterdir())
    if not _room(place.parent, need):
        logger.warning(
            "%s: no room for a copy of %s, %.1f GB; it is read where it is.",
            *(place.parent, store, need / 1e9),
        )
        return False
    building = place.with_name(f".{place.name}.bringing")
    shutil.rmtree(building, ignore_errors=True)
    shutil.copytree(store, building, ignore=shutil.ignore_patterns(USED))
    if damage := integrity.check(building).damage:
        raise DataError(
            f"{store}: {integrity.summary(damage)} is not as it was written; run jobs/prepare.py "
            "(or the search) again, which makes it anew."
        )
    atomic.put_in_place(building, place)
    return True


def _room(root: Path, need: int) -> bool:
    """Free disk space for a copy by removing those used longest ago; return whether it fits."""
    lacking = need - shutil.disk_usage(root).free
    if lacking > 0:
        have = sum(kept.bytes for kept in inventory.list_stores(root))
        inventory.prune(root, max(0, have - lacking))
    return shutil.disk_usage(root).free >= need

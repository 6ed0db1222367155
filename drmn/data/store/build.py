"""Building a feature store: by one process at a time, shard by shard, and published whole.

The folder of an unfinished store has another name. Each finished shard is on disk before its entry
in the journal, and a build that starts again trusts the journal only where the digests agree: an
interrupted build resumes, and nothing half-written is ever taken for a store.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drmn.data.store import integrity
from drmn.data.store.feature_store import MANIFEST
from drmn.data.store.layout import Fill, StoreLayout
from drmn.data.store.partial_store import PartialStore
from drmn.errors import DataError
from drmn.io.progress import Progress


def build(
    root: Path,
    plan: StoreLayout,
    fill: Fill,
    *,
    about: Mapping[str, Any] | None = None,
    waiting: Callable[[str], None] = lambda _: None,
    checking: Progress = lambda *_: None,
) -> Path:
    """Return the folder of a store, made, resumed or repaired if it is not whole.

    Args:
        root: The folder of stores.
        plan: Layout of the store.
        fill: Yields the shards that are missing.
        about: Entries of the manifest about how it was made.
        waiting: Called with the process that is building this store, before waiting for it.
        checking: Progress of the comparison of an existing store's shards.
    """
    place = root / plan.key.folder
    _refuse_other(place)
    if place.is_dir() and not integrity.check(place, checking).damage:
        return place
    root.mkdir(parents=True, exist_ok=True)
    with _alone(root, plan.key.folder, waiting):
        old = None
        if place.is_dir():  # another process has made it, or it is damaged
            old = integrity.check(place)
            if not old.damage:
                return place
        site = PartialStore(root / f".{plan.key.folder}.building", plan)
        if old is not None:
            site.adopt(place, old)
        missing = [span for span in plan.spans() if span.shard not in site.done]
        for shard, maps in fill(missing) if missing else ():
            site.put(shard, maps)
        site.publish(place, about or {})
    return place


def _refuse_other(place: Path) -> None:
    if (
        place.exists()
        and not (place / MANIFEST).is_file()
        and not list(place.glob("level-*.arrow"))
    ):
        raise DataError(f"{place}: not a feature store, but in the place of one; move it away.")


@contextmanager
def _alone(root: Path, name: str, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock for building a store; the system releases it if the process dies."""
    locks = root / ".locks"
    locks.mkdir(exist_ok=True)
    with (locks / name).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            waiting(lock.read().strip())
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield

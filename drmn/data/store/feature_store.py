"""The feature store: backbone maps of a catalogue, named after all that decides their content.

A store is a folder with the catalogue, one Arrow file a level and a manifest with the digest of
each shard. It is built beside its place (`drmn.data.store.build`) and moved there whole.
"""

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from torch import Tensor

from drmn.data.images import catalogue as catalogues
from drmn.data.images.catalogue import Catalogue
from drmn.data.store import encoding as forms
from drmn.data.store.feature_key import (
    IMPORTED,
    LAYOUT,
    MANIFEST,
    USED,
    FeatureKey,
    held_features,
    key_of,
    level_file,
    manifest_of,
)
from drmn.data.store.feature_level import Level
from drmn.errors import DataError
from drmn.level_names import LevelName

__all__ = [
    "IMPORTED",
    "LAYOUT",
    "MANIFEST",
    "USED",
    "FeatureKey",
    "held_features",
    "key_of",
    "level_file",
    "manifest_of",
]
SCALES, COMPONENTS = "scales.safetensors", "components.safetensors"
Maps = Mapping[LevelName, Tensor]
"""Maps [image, region, channel] by stride."""


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """An open feature store."""

    folder: Path
    key: FeatureKey
    catalogue: Catalogue
    levels: dict[LevelName, Level]
    """Levels by stride. Row `view * images + i` is a view of image i; view 0 is the plain one."""


def _lease(folder: Path) -> TextIO | None:
    """Return a locked file that marks the store as in use while it is open; its time is updated."""
    path = folder / USED
    try:
        file = path.open("a+")
        os.utime(path)
    except OSError:  # read-only: an existing file can still be locked
        if not path.exists():
            return None
        file = path.open()
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:  # it is being removed
        return None
    return file


def read(folder: Path) -> Store:
    """Open the store in `folder`.

    Raises:
        DataError: There is none, or it is damaged.
    """
    manifest = manifest_of(folder)
    key = key_of(manifest)
    if key.encoding == "int8" and not (folder / SCALES).is_file():
        raise DataError(f"{folder / SCALES}: missing; run jobs/prepare.py again.")
    form = forms.load(folder / SCALES, key.levels)
    lease = _lease(folder)
    levels = {}
    for stride in key.levels:
        digests = manifest["shards"][str(stride)]
        level = Level(level_file(folder, stride), digests, form[stride], lease)
        want = (manifest["rows"], *manifest["shapes"][str(stride)])
        if level.shape != want:
            raise DataError(
                f"{folder}: level {stride} is {level.shape}, its manifest says {want}; run "
                "jobs/prepare.py again."
            )
        levels[stride] = level
    return Store(folder, key, catalogues.read(folder), levels)

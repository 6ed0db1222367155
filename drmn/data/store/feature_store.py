"""The feature store: backbone maps of a catalogue, named after all that decides their content.

A store is a folder with the catalogue, one Arrow file a level and a manifest with the digest of
each shard. It is built beside its place (`drmn.data.store.build`) and moved there whole.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from torch import Tensor

from drmn.config import Encoding, Resolution
from drmn.data.images import catalogue as catalogues
from drmn.data.images.catalogue import Catalogue
from drmn.data.store import encoding as forms
from drmn.data.store.feature_level import Level
from drmn.errors import DataError

MANIFEST, USED = "manifest.json", "used"
SCALES, COMPONENTS = "scales.safetensors", "components.safetensors"
IMPORTED = "hdf5"
"""The backbone of features that came from a file."""

LAYOUT = 2
"""Of the stores that this version makes and reads."""

Maps = Mapping[int, Tensor]
"""Maps [image, region, channel] by stride."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureKey:
    """What decides the content of a store, up to the rounding of the machine that made it."""

    dataset: str
    catalogue: str
    """The digest of the catalogue."""
    backbone: str
    weights: str
    """The digest of the backbone's weights."""
    image_size: int
    preprocess: str
    """How pixels are resized and normalised, in words."""
    levels: tuple[int, ...]
    maps: Resolution = "pooled"
    views: int = 0
    """Augmented views of each image, beside the plain one."""
    encoding: Encoding = "bf16"
    components: float = 0
    """Share of the channels that a PCA keeps; 0 without one."""
    fold: int = 0
    """Whose training images scales and components were fitted on; 0 where nothing is fitted."""
    layout: int = LAYOUT
    """Rises when the files of a store change their meaning."""

    def judged(self, fold: int) -> str:
        """Return a digest of the images that a fold trains on and judges by, whatever the maps."""
        return f"{self.catalogue}-fold{fold}"

    @property
    def folder(self) -> str:
        """A readable name that changes whenever the content would."""
        content = json.dumps(asdict(self), sort_keys=True).encode()
        digest = hashlib.sha256(content).hexdigest()[:12]
        form = "" if self.encoding == "bf16" else f"-{self.encoding}"
        return f"{self.dataset}-{self.backbone}-{self.image_size}px{form}-{digest}"


def level_file(folder: Path, stride: int) -> Path:
    """Return the file of a level."""
    return folder / f"level-{stride}.arrow"


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """An open feature store."""

    folder: Path
    key: FeatureKey
    catalogue: Catalogue
    levels: dict[int, Level]
    """By stride. Row `view * images + i` is a view of image i; view 0 is the plain one."""


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return the manifest of the store in `folder`.

    Raises:
        DataError: There is no whole store there.
    """
    file = folder / MANIFEST
    if not file.is_file():
        raise DataError(f"No feature store at {folder}; make it with jobs/prepare.py.")
    try:
        manifest: dict[str, Any] = json.loads(file.read_text())
    except ValueError:
        raise DataError(f"{file}: not readable; run jobs/prepare.py again.") from None
    return manifest


def key_of(manifest: Mapping[str, Any]) -> FeatureKey:
    """Return the key that a manifest holds."""
    return FeatureKey(**{**manifest["key"], "levels": tuple(manifest["key"]["levels"])})


def _lease(folder: Path) -> TextIO | None:
    """Return what says, while it is open, that the store is in use; and when it last was."""
    path = folder / USED
    try:
        file = path.open("a+")
        os.utime(path)
    except OSError:  # read-only: what others made there may still say that we read it
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

"""Names and manifests of feature stores, read without torch: to list stores or to name one."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drmn.data.feature_config import Encoding, Resolution
from drmn.errors import DataError
from drmn.level_names import LevelName, join
from drmn.space_features import HeldFeatures

MANIFEST, USED = "manifest.json", "used"
IMPORTED = "hdf5"
"""The backbone of features that came from a file."""

LAYOUT = 2
"""Version of the stores that this code makes and reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureKey:
    """All that decides the content of a store, up to the rounding of the machine that made it."""

    dataset: str
    catalogue: str
    """The digest of the catalogue."""
    backbone: str
    weights: str
    """The digest of the backbone's weights."""
    image_size: int
    preprocess: str
    """How pixels are resized and normalised, in words."""
    levels: tuple[LevelName, ...]
    maps: Resolution = "pooled"
    views: int = 0
    """Augmented views of each image, beside the plain one."""
    encoding: Encoding = "bf16"
    components: float = 0
    """Share of the channels that a PCA keeps; 0 without one."""
    fold: int = 0
    """Fold whose training images scales and components were fitted on; 0 if nothing is fitted."""
    layout: int = LAYOUT
    """Version, which rises when the files of a store change their meaning."""

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


def level_file(folder: Path, level: LevelName) -> Path:
    """Return the file of a level."""
    return folder / f"level-{level}.arrow"


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


def held_features(folder: Path) -> HeldFeatures:
    """Return what the store in `folder` holds, of that which a search space may choose from."""
    key = key_of(manifest_of(folder))
    return HeldFeatures(join(key.levels), key.views)

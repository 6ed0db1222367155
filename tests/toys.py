"""A small dataset that can be learnt, and catalogues of what readers find."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from drmn.data.images.catalogue import Catalogue
from drmn.data.images.check import inspect
from drmn.data.readers import listing
from drmn.data.readers.listing import Listing
from drmn.data.store.build import build
from drmn.data.store.feature_store import FeatureKey
from drmn.data.store.layout import StoreLayout

CLASSES, PER_CLASS, ATTRIBUTES, REGIONS = 9, 10, 6, 4


def write_store(root: Path, key: FeatureKey, catalogue: Catalogue, maps, **more) -> Path:
    """Build a store of these maps by stride [row, region, channel]; return its folder."""

    def fill(spans):
        for span in spans:
            yield span.shard, {s: level[span.start : span.stop] for s, level in maps.items()}

    shapes = {stride: tuple(level.shape[1:]) for stride, level in maps.items()}
    return build(root, StoreLayout(key=key, catalogue=catalogue, shapes=shapes, **more), fill)


def toy_catalogue() -> Catalogue:
    """Return nine classes of ten images; an attribute is there or not, no two classes alike."""
    chance = np.random.default_rng(0)
    bits = chance.permutation(np.arange(1, 2**ATTRIBUTES))[:CLASSES]
    signs = ((bits[:, None] >> np.arange(ATTRIBUTES)) & 1).astype(float)
    names = tuple(f"class{c}" for c in range(CLASSES))
    labels = np.repeat(np.arange(CLASSES), PER_CLASS)
    return Catalogue(
        dataset="toy",
        images=tuple(f"{names[c]}/{i}.jpg" for i, c in enumerate(labels)),
        digests=("",) * len(labels),
        labels=labels,
        classes=names,
        attributes=signs / np.linalg.norm(signs, axis=1, keepdims=True),
        attribute_names=tuple(f"a{i}" for i in range(ATTRIBUTES)),
        words=chance.normal(size=(ATTRIBUTES, 5)).astype(np.float32),
        folds={1: names[-3:], 2: names[:3]},
    )


def toy_maps(catalogue: Catalogue):
    """Yield maps in which each attribute lights a channel of its own in a region of chance."""
    chance = np.random.default_rng(1)
    shows = catalogue.attributes[catalogue.labels] > 0  # [image, attr]
    for stride, channels in ((16, 8), (32, 12)):
        maps = chance.normal(scale=0.3, size=(len(shows), REGIONS, channels))
        where = chance.integers(REGIONS, size=shows.shape)
        for image, attribute in zip(*np.nonzero(shows), strict=True):
            maps[image, where[image, attribute], attribute] += 3.0
        yield stride, torch.from_numpy(maps).float()


def toy_key(catalogue: Catalogue, **more) -> FeatureKey:
    """Return the key of a store of toy features with strides 16 and 32."""
    return FeatureKey(
        dataset="toy",
        catalogue=catalogue.digest,
        backbone="none",
        weights="none",
        image_size=32,
        preprocess="none",
        levels=(16, 32),
        **more,
    )


def catalogue_of(found: Listing) -> Catalogue:
    """Return the development catalogue of what a reader found, its images checked."""
    with TemporaryDirectory() as folder:
        return listing.development(found, inspect(found.photos(), Path(folder, "images.db")))

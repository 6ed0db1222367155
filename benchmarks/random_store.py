"""Feature stores of maps of chance, for benchmarks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from drmn.data.images.catalogue import Catalogue
from drmn.data.store.build import build
from drmn.data.store.feature_store import FeatureKey, Maps
from drmn.data.store.layout import RowRange, StoreLayout

SHAPE = (49, 2048)
"""Regions and channels of a map, as of a ResNet at 224 pixels."""


def store(root: Path, images: int, shape: tuple[int, int]) -> Path:
    """Build a store of maps of chance."""
    key = FeatureKey(
        dataset="bench",
        catalogue=str(images),
        backbone="none",
        weights="none",
        image_size=0,
        preprocess="none",
        levels=(32,),
    )
    catalogue = Catalogue(
        dataset="bench",
        images=tuple(map(str, range(images))),
        digests=("",) * images,
        labels=np.zeros(images, dtype=np.int64),
        classes=("a",),
        attributes=np.ones((1, 1)),
        attribute_names=("a",),
        folds={1: ()},
    )
    chance = torch.randn(64, *shape, generator=torch.Generator().manual_seed(0))

    def fill(spans: list[RowRange]) -> Iterator[tuple[int, Maps]]:
        for span in spans:
            rows = torch.arange(span.start, span.stop) % 64
            yield span.shard, {32: chance[rows] + span.shard}

    return build(root, StoreLayout(key=key, catalogue=catalogue, shapes={32: shape}), fill)


def scratch() -> Path:
    """Return a folder on a disk, not in memory, for what is measured cold."""
    place = Path(__file__).parents[1] / "results" / "benchmarks"
    place.mkdir(parents=True, exist_ok=True)
    return place

"""Feature stores of random maps, for tests of what builds and reads them."""

from dataclasses import replace

import numpy as np
import torch

from drmn.data.images.catalogue import Catalogue
from drmn.data.store.build import build
from drmn.data.store.feature_store import FeatureKey
from drmn.data.store.layout import StoreLayout

KEY = FeatureKey(
    dataset="toy",
    catalogue="c0",
    backbone="net",
    weights="w0",
    image_size=32,
    preprocess="p0",
    levels=(8, 16),
)
PER_SHARD = 1024  # rows this small: the most that a shard holds
IMAGES = 2 * PER_SHARD + 88  # two whole shards and a part of one
SHAPES = {8: (4, 3), 16: (1, 5)}


def catalogue(images=IMAGES):
    return Catalogue(
        dataset="toy",
        images=tuple(f"a/{i}.jpg" for i in range(images)),
        digests=("",) * images,
        labels=np.zeros(images, dtype=np.int64),
        classes=("a",),
        attributes=np.ones((1, 1)),
        attribute_names=("a",),
        folds={1: ()},
    )


def random_maps(rows=IMAGES):
    """Maps of any magnitude: their last bits are lost, their exponents are not."""
    generator = torch.Generator().manual_seed(0)
    exact = {s: torch.randn(rows, *shape, generator=generator) for s, shape in SHAPES.items()}
    return {s: maps * 10.0 ** torch.arange(-3, maps.shape[-1] - 3) for s, maps in exact.items()}


def same_bits(left, right):
    assert left.dtype == right.dtype == torch.bfloat16
    assert torch.equal(left.view(torch.int16), right.view(torch.int16))


IMAGES_OF_PLAN = 5 * 1024 + 3  # six shards
PLAN = StoreLayout(key=KEY, catalogue=catalogue(IMAGES_OF_PLAN), shapes=SHAPES)


def filling(asked=None, ends_after=None, end=KeyboardInterrupt):
    """Return what fills a store with the same maps each time, and notes what it was asked for."""
    maps = random_maps(IMAGES_OF_PLAN)

    def fill(spans):
        if asked is not None:
            asked.append([span.shard for span in spans])
        for number, span in enumerate(spans):
            if number == ends_after:
                raise end
            yield span.shard, {s: level[span.start : span.stop] for s, level in maps.items()}

    return fill


def a_store(root, images, shape):
    """Build a store of so many images; the maps are made as they are asked for."""
    plan = StoreLayout(
        key=replace(KEY, levels=(32,)), catalogue=catalogue(images), shapes={32: shape}
    )

    def fill(spans):
        for span in spans:
            maps = torch.full((span.stop - span.start, *shape), float(span.shard % 256))
            yield span.shard, {32: maps}

    return build(root, plan, fill)

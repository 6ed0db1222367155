"""Standardisation of stored features: the moments of the training images, computed once, exactly.

Stored features do not change while a network is trained, so neither do their moments. Taken from
batches they would depend on the size of a batch and of a micro-batch, and the running averages that
evaluation uses would lag behind in the first epochs of a small dataset.
"""

import torch
from torch import Tensor

from drmn.data.splits.development import Split
from drmn.level_names import CLS, LevelName
from drmn.model.fusion import Moments, pooled

CHUNK = 256
"""Images read at a time."""


def moments_of(train: Split, strides: tuple[LevelName, ...]) -> Moments:
    """Return the moments of the training images' plain views, on the grid of the last level.

    Every worker computes them from all images in one order, so they are equal to the last bit.

    Raises:
        DataError: The images are not for training.
    """
    train.require("train", "standardising features")
    regions = train.levels[strides[-1]].shape[1]
    sums = {stride: torch.zeros(2, train.levels[stride].shape[-1]).double() for stride in strides}
    for rows in train.rows.split(CHUNK):
        maps = train.maps(rows)
        for stride in strides:
            level = maps[stride]
            sums[stride] += _powers(level if stride == CLS else pooled(level, regions))
    found = {}
    for stride, both in sums.items():
        mean, square = both / (len(train) * (1 if stride == CLS else regions))
        found[stride] = (mean.float(), (square - mean.square()).clamp(min=0).float())
    return found


def _powers(regions: Tensor) -> Tensor:
    """Return the sums of values and of squares [2, channel] over images and regions."""
    values = regions.flatten(0, 1).double()
    return torch.stack([values.sum(dim=0), values.square().sum(dim=0)])

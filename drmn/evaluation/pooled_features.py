"""Features of the linear baselines: maps pooled over their regions, and standardised."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drmn.data.splits.development import Development
from drmn.level_names import LevelName, in_order

WIDEST = 4096
"""Features at most: a wider combination of levels and poolings is not tried."""

Features = Float[Tensor, "image feature"]
Labels = Int[Tensor, " image"]
Signatures = Float[Tensor, "class attr"]
"""Attributes of classes, the seen ones first."""


@dataclass(frozen=True, slots=True)
class Pooling:
    """Features of an image: how they are made of its maps."""

    levels: tuple[LevelName, ...]
    """Strides of the levels, side by side."""
    maxima: bool
    """Whether each channel's maximum over the regions stands beside its mean."""
    unit: bool
    """Whether a standardised vector is scaled to the length of the root of its dimension."""


@dataclass(frozen=True, slots=True)
class Axes:
    """Principal axes of the training features, by which all regularisers are tried at once."""

    values: Float[Tensor, " feature"]
    """Eigenvalues of their products."""
    axes: Float[Tensor, "feature axis"]
    val: Float[Tensor, "valimage axis"]
    """The validation features along these axes."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Features and classes of a fold, as a linear model takes them."""

    train: Features
    labels: Labels
    """Classes of the training images."""
    val: Float[Tensor, "valimage feature"]
    val_labels: Int[Tensor, " valimage"]
    attributes: Signatures
    seen: Bool[Tensor, " class"]

    def signatures(self, *, centred: bool) -> Signatures:
        """Return the attributes of all classes, less those of the mean seen class if `centred`."""
        return self.attributes - centred * self.attributes[self.seen].mean(dim=0)

    @cached_property
    def axes(self) -> Axes:
        """Principal axes of the training features, found once for all models and scorings."""
        values, axes = torch.linalg.eigh(self.train.T @ self.train)
        return Axes(values, axes, self.val @ axes)


Pools = Mapping[LevelName, tuple[Float[Tensor, "image channel"], Float[Tensor, "image channel"]]]
"""Mean and maximum over the regions of each image of a store, by stride."""


def pools_of(data: Development) -> Pools:
    """Return means and maxima of all images, training and validation alike."""
    return {s: level.pools(data.train.stored) for s, level in data.train.levels.items()}


def poolings(data: Development, pools: Pools) -> Iterator[Pooling]:
    """Yield the combinations of levels, maxima and length that are tried."""
    every = in_order(data.channels)
    choices = [every[-1:]] if len(every) == 1 else [every[-1:], every]
    for levels, maxima, unit in product(choices, (False, True), (False, True)):
        pooling = Pooling(levels, maxima, unit)
        simplest = levels == choices[0] and not maxima
        if simplest or sum(part.shape[1] for part in _columns(pools, pooling)) <= WIDEST:
            yield pooling


def _columns(pools: Pools, pooling: Pooling) -> list[Tensor]:
    """Return the features side by side: of each level its means, and its maxima if wanted."""
    return [part for s in pooling.levels for part in pools[s][: 2 if pooling.maxima else 1]]


def problem_of(data: Development, pools: Pools, pooling: Pooling) -> Problem:
    """Return the features of a fold, standardised by the mean and spread of the training images.

    Raises:
        DataError: The images are not for training or validation.
    """
    data.val_seen.require("val", "choosing gamma")
    data.val_unseen.require("val", "choosing gamma")
    return standardised(data, pools, pooling)


def standardised(data: Development, pools: Pools, pooling: Pooling) -> Problem:
    """Return the features of a division; its `val` images are for judging, nothing is chosen.

    Raises:
        DataError: The training images are not for training.
    """
    data.train.require("train", "standardising features")
    pooled = torch.cat(_columns(pools, pooling), dim=1).double()
    train = pooled[data.train.rows]
    mean, spread = train.mean(dim=0), train.std(dim=0).clamp(min=1e-6)
    rows = torch.cat([data.val_seen.rows, data.val_unseen.rows])
    train, val = ((part - mean) / spread for part in (train, pooled[rows]))
    if pooling.unit:
        train, val = (F.normalize(part, dim=1) * part.shape[1] ** 0.5 for part in (train, val))
    return Problem(
        train,
        data.train.labels,
        val,
        torch.cat([data.val_seen.labels, data.val_unseen.labels]),
        data.classes.attributes.double(),
        data.classes.seen,
    )

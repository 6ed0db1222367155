"""What training and search may see: train classes, and validation classes that stand for unseen.

For fold k the classes of trainval fall into train and validation classes. Of each train class one
image in five is held out as val-seen; the images of the validation classes are val-unseen.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drmn.config import strides
from drmn.data import features
from drmn.data.catalogue import Catalogue
from drmn.data.features import Level
from drmn.errors import ConfigError

HELD_OUT = 0.2
"""Share of each train class's images that becomes val-seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """Candidate classes, seen ones first."""

    names: tuple[str, ...]
    attributes: Float[Tensor, "class attr"]
    """L2-normalised rows."""
    seen: Bool[Tensor, " class"]
    attribute_names: tuple[str, ...] = ()
    words: Float[Tensor, "attr word"] | None = None

    def to(self, device: torch.device) -> "Classes":
        """Return these classes with what a loss needs of them on `device`."""
        return replace(self, attributes=self.attributes.to(device), seen=self.seen.to(device))


@dataclass(frozen=True, slots=True)
class Batch:
    """Some images: their maps by stride, and their classes."""

    maps: dict[int, Float[Tensor, "image region channel"]]
    labels: Int[Tensor, " image"]

    def to(self, device: torch.device) -> "Batch":
        """Return this batch on `device`."""
        maps = {stride: level.to(device) for stride, level in self.maps.items()}
        return Batch(maps, self.labels.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Some images of a store."""

    levels: dict[int, Level]
    rows: Int[Tensor, " image"]
    """Where they stand in the store."""
    labels: Int[Tensor, " image"]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.rows)

    def batch(self, chosen: Int[Tensor, " image"]) -> Batch:
        """Return the images at the positions `chosen`."""
        rows = self.rows[chosen]
        maps = {stride: level.rows(rows).float() for stride, level in self.levels.items()}
        return Batch(maps, self.labels[chosen])

    def batches(self, size: int, *, shuffle: bool = False) -> Iterator[Batch]:
        """Yield all images, shuffled by torch's global generator if asked.

        A last batch of one image joins the batch before it: batch statistics need two.
        """
        order = torch.randperm(len(self)) if shuffle else torch.arange(len(self))
        parts = list(order.split(size))
        if len(parts) > 1 and len(parts[-1]) == 1:
            parts[-2:] = [torch.cat(parts[-2:])]
        for chosen in parts:
            yield self.batch(chosen)


@dataclass(frozen=True, slots=True, eq=False)
class Development:
    """A fold of the development data."""

    classes: Classes
    train: Split
    val_seen: Split
    val_unseen: Split
    digest: str
    """Changes with anything of the data or the features that could change a result."""

    @property
    def channels(self) -> dict[int, int]:
        """Return the channels of each level by stride."""
        return {stride: level.shape[-1] for stride, level in self.train.levels.items()}


def open_store(folder: Path, *, fold: int = 1, levels: str = "") -> Development:
    """Return fold `fold` of the store in `folder`, with some of its levels or all.

    Raises:
        ConfigError: The store lacks the fold or a level.
        DataError: There is no whole store there.
    """
    store = features.read(folder)
    wanted = strides(levels) if levels else tuple(store.levels)
    for stride in wanted:
        if stride not in store.levels:
            have = "+".join(map(str, store.levels))
            raise ConfigError(f"model.levels {levels}: the feature store {folder} holds {have}.")
    kept = {stride: store.levels[stride] for stride in wanted}
    return divide(store.catalogue, kept, fold=fold, digest=store.key.folder)


def divide(
    catalogue: Catalogue, levels: dict[int, Level], *, fold: int, digest: str
) -> Development:
    """Divide a catalogue's images into train, val-seen and val-unseen."""
    if fold not in catalogue.folds:
        have = ", ".join(map(str, catalogue.folds))
        raise ConfigError(f"fold {fold}: {catalogue.dataset} has the class folds {have}.")
    held = np.isin(catalogue.classes, catalogue.folds[fold])
    order = np.argsort(held, kind="stable")  # train classes first, each side in its own order
    labels = np.argsort(order)[catalogue.labels]
    unseen = held[catalogue.labels]
    out = held_out(catalogue.images, catalogue.labels) & ~unseen
    words = catalogue.words
    classes = Classes(
        names=tuple(catalogue.classes[c] for c in order),
        attributes=torch.from_numpy(catalogue.attributes[order]).float(),
        seen=torch.from_numpy(~held[order]),
        attribute_names=catalogue.attribute_names,
        words=None if words is None else torch.from_numpy(words),
    )
    train, seen, other = (_split(levels, labels, mask) for mask in (~unseen & ~out, out, unseen))
    return Development(classes, train, seen, other, digest)


def _split(
    levels: dict[int, Level], labels: npt.NDArray[np.int64], mask: npt.NDArray[np.bool_]
) -> Split:
    rows = torch.from_numpy(np.flatnonzero(mask))
    return Split(levels, rows, torch.from_numpy(labels)[rows])


def held_out(paths: Sequence[str], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which images are held out: of each class the fifth whose path hashes lowest.

    Depends on names alone, so adding a class or changing a seed moves no image of another class.
    """
    rank = np.array([hashlib.sha256(path.encode()).hexdigest() for path in paths])
    out = np.zeros(len(paths), dtype=bool)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        count = max(1, round(HELD_OUT * len(own))) if len(own) > 1 else 0
        out[own[np.argsort(rank[own])[:count]]] = True
    return out

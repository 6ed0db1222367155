"""What training and search may see: train classes, and validation classes that stand for unseen.

For fold k the classes of trainval fall into train and validation classes. Of each train class one
image in five is held out as val-seen; the images of the validation classes are val-unseen. A split
knows what its images are for, so that what must not be chosen or fitted on them is refused.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drmn.config import strides
from drmn.data import features
from drmn.data.catalogue import Catalogue
from drmn.data.level import Level
from drmn.errors import ConfigError, DataError

Part = Literal["train", "val", "test"]

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
    part: Part
    """What they are for."""
    views: int = 0
    """Augmented views of each image that the store holds; only training looks at them."""
    stored: int = 0
    """Images of the store: view v of the image in row i is in row v * stored + i."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.rows)

    def require(self, part: Part, what: str) -> None:
        """Raise `DataError` unless the images are for `part`; `what` says what was to be done."""
        if self.part != part:
            raise DataError(f"{what} takes {part} images alone; these are {self.part} images.")

    def batch(
        self, chosen: Int[Tensor, " image"], view: Int[Tensor, " image"] | None = None
    ) -> Batch:
        """Return the images at the positions `chosen`, each as its plain view or another one."""
        rows = self.rows[chosen] if view is None else self.rows[chosen] + view * self.stored
        maps = {stride: level.rows(rows).float() for stride, level in self.levels.items()}
        return Batch(maps, self.labels[chosen])

    def batches(self, size: int, *, shuffle: bool = False) -> Iterator[Batch]:
        """Yield all images; if asked shuffled, and each as a view drawn for it.

        Chance is torch's global generator's. A last batch of one image joins the batch before it:
        batch statistics need two.
        """
        order = torch.randperm(len(self)) if shuffle else torch.arange(len(self))
        parts = list(order.split(size))
        if len(parts) > 1 and len(parts[-1]) == 1:
            parts[-2:] = [torch.cat(parts[-2:])]
        for chosen in parts:
            drawn = shuffle and self.views > 0
            yield self.batch(
                chosen, torch.randint(self.views + 1, (len(chosen),)) if drawn else None
            )


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
        ConfigError: The store lacks the fold or a level, or was fitted on another fold.
        DataError: There is no whole store there, or sealed data are in it.
    """
    store = features.read(folder)
    wanted = strides(levels) if levels else tuple(store.levels)
    for stride in wanted:
        if stride not in store.levels:
            have = "+".join(map(str, store.levels))
            raise ConfigError(f"model.levels {levels}: the feature store {folder} holds {have}.")
    if store.key.fold not in (0, fold):
        raise ConfigError(
            f"fold {fold}: the {store.key.encoding} features in {folder} were fitted on the "
            f"training images of fold {store.key.fold}, some of which are validation images here; "
            f"make them with --fold {fold}, or use --encoding bf16."
        )
    kept = {stride: store.levels[stride] for stride in wanted}
    return divide(store.catalogue, kept, fold=fold, digest=store.key.folder, views=store.key.views)


def divide(
    catalogue: Catalogue, levels: dict[int, Level], *, fold: int, digest: str, views: int = 0
) -> Development:
    """Divide a catalogue's images into train, val-seen and val-unseen.

    Raises:
        ConfigError: There is no such fold.
        DataError: A sealed test image or test class is among the development data.
    """
    catalogue.fence.check(catalogue.dataset, catalogue.images, catalogue.classes)
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

    def split(mask: npt.NDArray[np.bool_], part: Part) -> Split:
        rows = torch.from_numpy(np.flatnonzero(mask))
        own = torch.from_numpy(labels)[rows]
        return Split(levels, rows, own, part, views=views, stored=len(catalogue.images))

    train, val = split(~unseen & ~out, "train"), split(out, "val")
    return Development(classes, train, val, split(unseen, "val"), digest)


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

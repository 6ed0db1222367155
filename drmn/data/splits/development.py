"""Data for training and search: train classes, and validation classes in place of unseen ones.

For fold k the classes of trainval fall into train and validation classes. One image in five of each
train class is held out as val-seen; the images of the validation classes are val-unseen. A split
has a `part`, so that anything that must not be chosen or fitted on its images is refused.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drmn.data.images.catalogue import Catalogue
from drmn.data.splits.division import OFFICIAL, Division, Mask, SplitPart
from drmn.data.splits.epoch_rng import EpochRng
from drmn.data.store import feature_store
from drmn.data.store.feature_level import Level
from drmn.errors import ConfigError, DataError
from drmn.level_names import CLS, LevelName, in_order, join, parse_levels, require_class_token


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
        """Return these classes with the tensors that a loss needs on `device`."""
        return replace(self, attributes=self.attributes.to(device), seen=self.seen.to(device))


Inputs = (
    Mapping[LevelName, Float[Tensor, "image region channel"]]
    | Float[Tensor, "image 3 height width"]
)
"""Input of a network: stored maps by stride, or pixels."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some images, and their classes."""

    inputs: Inputs
    labels: Int[Tensor, " image"]

    def to(self, device: torch.device) -> "Batch":
        """Return this batch on `device`."""
        return Batch(to_device(self.inputs, device), self.labels.to(device))


def to_device(inputs: Inputs, device: torch.device) -> Inputs:
    """Return `inputs` on `device`."""
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    return {stride: level.to(device) for stride, level in inputs.items()}


@runtime_checkable
class Images(Protocol):
    """Some images that a network can be trained or judged on."""

    @property
    def labels(self) -> Int[Tensor, " image"]:
        """Return the class of each."""

    @property
    def part(self) -> SplitPart:
        """Return the split that they belong to."""

    def __len__(self) -> int:
        """Return how many there are."""

    def stream(
        self, parts: Sequence[Int[Tensor, " _"]], chance: EpochRng | None = None
    ) -> Iterator[Batch]:
        """Yield the images at each part's positions; in training augmented by `chance`."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Some images of a store."""

    levels: dict[LevelName, Level]
    rows: Int[Tensor, " image"]
    """Rows of the images in the store."""
    labels: Int[Tensor, " image"]
    part: SplitPart
    """The split that they belong to."""
    views: int = 0
    """Augmented views of each image that the store holds; only training uses them."""
    stored: int = 0
    """Number of images in the store: view v of the image in row i is in row v * stored + i."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.rows)

    def require(self, part: SplitPart, what: str) -> None:
        """Raise `DataError` unless the images are for `part`; `what` names the operation."""
        require_images(self, part, what)

    def batch(
        self, chosen: Int[Tensor, " image"], view: Int[Tensor, " image"] | None = None
    ) -> Batch:
        """Return the images at the positions `chosen`, each as its plain view or another one."""
        rows = self.rows[chosen] if view is None else self.rows[chosen] + view * self.stored
        return Batch(self.maps(rows), self.labels[chosen])

    def maps(self, rows: Int[Tensor, " image"]) -> dict[LevelName, Tensor]:
        """Return the maps [image, region, channel] in these rows of the store, by stride."""
        return {stride: level.rows(rows).float() for stride, level in self.levels.items()}

    def stream(
        self, parts: Sequence[Int[Tensor, " _"]], chance: EpochRng | None = None
    ) -> Iterator[Batch]:
        """Yield the images at each part's positions; in training each as a view drawn for it."""
        drawn = None if chance is None else chance.views(len(self), self.views)
        for chosen in parts:
            yield self.batch(chosen, None if drawn is None else drawn[chosen])


def require_images(images: Images, part: SplitPart, what: str) -> None:
    """Raise `DataError` unless `images` are for `part`; `what` names the operation."""
    if images.part != part:
        raise DataError(f"{what} takes {part} images alone; these are {images.part} images.")


I = TypeVar("I", bound=Images, covariant=True)  # noqa: E741, PLC0105


@dataclass(frozen=True, slots=True, eq=False)
class Fold(Generic[I]):
    """A division of a dataset, its images in a store or as photos."""

    classes: Classes
    train: I
    val_seen: I
    """Images of seen classes to judge by; of a refit, test images or held-out ones."""
    val_unseen: I
    """Images of unseen classes to judge by; of a refit, test images."""
    digest: str
    """Changes with anything of the data or the features that could change a result."""


class Development(Fold[Split]):
    """A fold whose images are in a feature store."""

    @property
    def channels(self) -> dict[LevelName, int]:
        """Return the channels of each level by stride."""
        return {stride: level.shape[-1] for stride, level in self.train.levels.items()}


def open_store(
    folder: Path, *, fold: int = 1, block: int = 0, held_out: int = 0, levels: str = ""
) -> Development:
    """Return a division of the store in `folder` (`Division`), with some of its levels or all.

    Raises:
        ConfigError: The store lacks the division or a level, or was fitted on another fold.
        DataError: There is no whole store there, or sealed data are in it.
    """
    store = feature_store.read(folder)
    division = Division(fold=fold, block=block, held_out=held_out)
    wanted = parse_levels(levels) if levels else tuple(store.levels)
    if CLS in wanted:
        require_class_token(store.levels)
    for stride in wanted:
        if stride not in store.levels:
            have = join(in_order(store.levels))
            raise ConfigError(f"model.levels {levels}: the feature store {folder} holds {have}.")
    if store.key.fold and (store.key.fold != fold or block):
        raise ConfigError(
            f"fold {fold}{f', block {block}' * bool(block)}: the {store.key.encoding} features in "
            f"{folder} were fitted on the training images of fold {store.key.fold}, some of which "
            "are validation images here; make them with another --fold, or use --encoding bf16."
        )
    kept = {stride: store.levels[stride] for stride in wanted}
    key = store.key
    return divide(store.catalogue, kept, division, digest=key.folder, views=key.views)


def divide(
    catalogue: Catalogue,
    levels: dict[LevelName, Level],
    division: Division = OFFICIAL,
    *,
    digest: str,
    views: int = 0,
) -> Development:
    """Divide a catalogue's images, of which a store holds these levels.

    Raises:
        ConfigError: There is no such division.
        DataError: A sealed test image or test class is among the development data.
    """

    def split(rows: Int[Tensor, " image"], labels: Int[Tensor, " image"], part: SplitPart) -> Split:
        return Split(levels, rows, labels, part, views=views, stored=len(catalogue.images))

    return Development(*parts_of(catalogue, division, split), digest)


Make = Callable[[Int[Tensor, " image"], Int[Tensor, " image"], SplitPart], I]
"""Makes images from their places in the catalogue, their labels, and their part."""


def parts_of(catalogue: Catalogue, division: Division, make: Make[I]) -> tuple[Classes, I, I, I]:
    """Return the classes of a division, and its images: train, seen and unseen ones to judge by.

    Raises:
        ConfigError: There is no such division.
        DataError: A sealed test image or test class is among the development data.
    """
    catalogue.fence.check(catalogue.dataset, catalogue.images, catalogue.classes)
    division.require(catalogue)
    held = np.isin(catalogue.classes, division.unseen_classes(catalogue))
    order = np.argsort(held, kind="stable")  # train classes first, each side in its own order
    labels = np.argsort(order)[catalogue.labels]
    words = catalogue.words
    classes = Classes(
        names=tuple(catalogue.classes[c] for c in order),
        attributes=torch.from_numpy(catalogue.attributes[order]).float(),
        seen=torch.from_numpy(~held[order]),
        attribute_names=catalogue.attribute_names,
        words=None if words is None else torch.from_numpy(words),
    )

    def part_of(mask: Mask, part: SplitPart) -> I:
        rows = torch.from_numpy(np.flatnonzero(mask))
        return make(rows, torch.from_numpy(labels)[rows], part)

    of = division.masks(catalogue, held[catalogue.labels])
    judged = part_of(of.seen, of.seen_part), part_of(of.unseen, of.unseen_part)
    return classes, part_of(of.train, "train"), *judged

"""Divisions of a dataset's images into those to train on and those to judge by.

A search uses an official fold. A block is a random division of the same classes: trials are
compared on blocks that no choice saw. The data of a refit are divided into trainval and test.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from drmn.config import THIRDS
from drmn.data.images.catalogue import TRAINVAL, Catalogue
from drmn.errors import ConfigError

SplitPart = Literal["train", "val", "test"]

HELD_OUT = 0.2
"""Share of each train class's images that becomes val-seen."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """Images of a dataset by what they are for."""

    train: Mask
    seen: Mask
    """Images of seen classes to judge by."""
    unseen: Mask
    """Images of unseen classes to judge by."""
    seen_part: SplitPart
    unseen_part: SplitPart


@dataclass(frozen=True, kw_only=True, slots=True)
class Division:
    """A division of a dataset's classes and images."""

    fold: int = 1
    """Official division into train and validation classes."""
    block: int = 0
    """Random division of the same classes, with as many validation classes; 0 for the fold's."""
    held_out: int = 0
    """Of a refit: third of the training images to hold out; 0 for none."""

    def require(self, catalogue: Catalogue) -> None:
        """Raise `ConfigError` unless this dataset has such a division."""
        catalogue.require_fold(self.fold)
        if self.held_out and not catalogue.splits:
            raise ConfigError(
                f"held_out {self.held_out}: the data have no test split; a refit alone holds out "
                "thirds of its training images."
            )
        if self.block and catalogue.splits:
            raise ConfigError(f"block {self.block}: a refit trains on all classes of trainval.")

    def unseen_classes(self, catalogue: Catalogue) -> tuple[str, ...]:
        """Return the classes that training sees no image of."""
        official = catalogue.folds[self.fold]
        if not self.block:
            return official
        names = sorted(catalogue.classes)
        text = f"{catalogue.dataset} block {self.block}"
        chance = np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))
        drawn = chance.choice(len(names), size=len(official), replace=False)
        return tuple(names[place] for place in sorted(drawn))

    def masks(self, catalogue: Catalogue, unseen: Mask) -> Masks:
        """Return what each image is for; `unseen` says whether it is of an unseen class."""
        if not catalogue.splits:
            out = held_out(catalogue.images, catalogue.labels) & ~unseen
            return Masks(~unseen & ~out, out, unseen, "val", "val")
        test = np.array(catalogue.splits) != TRAINVAL
        if not self.held_out:
            return Masks(~test, test & ~unseen, unseen, "test", "test")
        out = third(catalogue.images, catalogue.labels, self.held_out) & ~test
        return Masks(~test & ~out, out, unseen, "val", "test")


OFFICIAL = Division()
"""Fold 1; of the data of a refit trainval and test."""


def held_out(paths: Sequence[str], labels: npt.NDArray[np.int64]) -> Mask:
    """Return which images are held out: the fifth of each class whose path hashes lowest.

    Depends on names alone, so adding a class or changing a seed moves no image of another class.
    """
    rank = _hashes(paths)
    out = np.zeros(len(paths), dtype=bool)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        count = max(1, round(HELD_OUT * len(own))) if len(own) > 1 else 0
        out[own[np.argsort(rank[own])[:count]]] = True
    return out


def third(paths: Sequence[str], labels: npt.NDArray[np.int64], number: int) -> Mask:
    """Return which images are in third `number` (from 1) of their class, by the path's hash."""
    rank = _hashes([f"third/{path}" for path in paths])
    out = np.zeros(len(paths), dtype=bool)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        out[own[np.argsort(rank[own])][number - 1 :: THIRDS]] = True
    return out


def _hashes(paths: Sequence[str]) -> npt.NDArray[Any]:
    return np.array([hashlib.sha256(path.encode()).hexdigest() for path in paths])

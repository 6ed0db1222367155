"""A user's own dataset: images in class folders and a table of attributes (docs/own-data.md)."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drmn.data.images.catalogue import FOLDS
from drmn.data.readers import word_vectors
from drmn.data.readers.class_photos import find_photos
from drmn.data.readers.class_tables import read_attributes, read_splits
from drmn.data.readers.listing import Listing
from drmn.errors import DataError

SHARE = 0.2
"""Share of the classes for testing, of the rest for each fold's validation, and of each seen
class's images for testing, unless splits.csv names the classes."""


def read(root: Path, dataset: str) -> Listing:
    """Return the listing of the dataset in `root`.

    Raises:
        DataError: A file is missing or contains an impossible value.
    """
    names, attribute_names, values, twins = read_attributes(root / "attributes.csv")
    splits = read_splits(root / "splits.csv", names)
    photos = find_photos(root / "images", names)
    images = photos.paths
    pictured = [name for name in names if images[name]]
    if not pictured:
        raise DataError(f"{root / 'images'}: no photo of a class of attributes.csv.")
    seen, folds = _divided(pictured, splits)
    rows = [
        (path, file, c, _part(path, name in seen, tested))
        for c, name in enumerate(names)
        for tested in [_tested(list(images[name]))]
        for path, file in images[name].items()
    ]
    vectors = word_vectors.read(root / "words", len(attribute_names))
    paths, files, labels, parts = zip(*rows, strict=True)
    notes = (*twins, *photos.notes, *_notes(names, images, parts))
    return Listing(
        dataset=dataset,
        images=paths,
        files=files,
        labels=np.array(labels),
        splits=parts,
        classes=tuple(names),
        attributes=values,
        attribute_names=attribute_names,
        words=vectors,
        folds=folds,
        notes=notes + word_vectors.note(vectors, attribute_names),
    )


def _divided(
    pictured: Sequence[str], splits: Mapping[str, str]
) -> tuple[list[str], dict[int, tuple[str, ...]]]:
    """Return the seen classes and the folds: those of splits.csv, or drawn ones."""
    if not splits:
        seen = _seen(pictured)
        return seen, drawn_folds(seen)
    seen = [name for name in pictured if splits[name] != "test"]
    return seen, {1: tuple(name for name in seen if splits[name] == "val")}


def _part(path: str, seen: bool, tested: set[str]) -> str:  # noqa: FBT001
    if not seen:
        return "test_unseen"
    return "test_seen" if path in tested else "trainval"


def _by_hash(names: Iterable[str], salt: str) -> list[str]:
    """Return `names` in an order that depends on each name alone."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{salt}:{name}".encode()).hexdigest())


def _seen(names: Sequence[str]) -> list[str]:
    """Return the classes that are not for testing."""
    count = max(1, round(SHARE * len(names)))
    test = set(_by_hash(names, "test")[:count])
    return [name for name in names if name not in test]


def drawn_folds(names: Sequence[str]) -> dict[int, tuple[str, ...]]:
    """Return the validation classes of three folds of the seen classes `names`, by their hash."""
    count = max(1, round(SHARE * len(names)))
    if len(names) < 3 * count:
        raise DataError(
            f"{len(names)} seen classes with images are too few for three folds; add classes, or "
            "say in splits.csv which are for what."
        )
    order = _by_hash(names, "val")
    return {k: tuple(order[(k - 1) * count : k * count]) for k in FOLDS}


def _tested(paths: Sequence[str]) -> set[str]:
    """Return the images of a seen class that are for testing."""
    return set(_by_hash(paths, "test")[: round(SHARE * len(paths))])


def _notes(
    names: Sequence[str], images: Mapping[str, Mapping[str, Any]], parts: Sequence[str]
) -> tuple[str, ...]:
    empty = [name for name in names if not images[name]]
    notes = []
    if empty:
        notes.append(f"{len(empty)} classes of attributes.csv have no image, such as {empty[0]}.")
    if "test_seen" not in parts:
        notes.append(
            "no seen class has three photos, so none is left for the final test, which will have "
            "no H."
        )
    return tuple(notes)

"""A user's own dataset: images in class folders and a table of attributes (docs/own-data.md)."""

import csv
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drmn.data.images.catalogue import FOLDS
from drmn.data.readers import word_vectors
from drmn.data.readers.listing import Listing
from drmn.errors import DataError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif"}
SPLITS = ("train", "val", "test")
SHARE = 0.2
"""Share of the classes for testing, of the rest for each fold's validation, and of each seen
class's images for testing, unless splits.csv names the classes."""


def read(root: Path, dataset: str) -> Listing:
    """Return the listing of the dataset in `root`.

    Raises:
        DataError: A file is missing or contains an impossible value.
    """
    names, attribute_names, values = _attributes(root / "attributes.csv")
    splits = _splits(root, names)
    images = _images(root / "images", names)
    pictured = [name for name in names if images[name]]
    if not pictured:
        known = ", ".join(sorted(SUFFIXES))
        raise DataError(f"{root / 'images'}: no image ({known}) of a class of attributes.csv.")
    if splits:
        seen = [name for name in pictured if splits[name] != "test"]
        folds = {1: tuple(name for name in seen if splits[name] == "val")}
    else:
        seen = _seen(pictured)
        folds = drawn_folds(seen)
    rows = [
        (path, c, _part(path, name in seen, tested))
        for c, name in enumerate(names)
        for tested in [_tested(images[name])]
        for path in images[name]
    ]
    vectors = word_vectors.read(root / "words", len(attribute_names))
    paths, labels, parts = zip(*rows, strict=True)
    return Listing(
        dataset=dataset,
        images=paths,
        files=tuple(root / "images" / path for path in paths),
        labels=np.array(labels),
        splits=parts,
        classes=tuple(names),
        attributes=values,
        attribute_names=attribute_names,
        words=vectors,
        folds=folds,
        notes=_notes(names, images) + word_vectors.note(vectors, attribute_names),
    )


def _part(path: str, seen: bool, tested: set[str]) -> str:  # noqa: FBT001
    if not seen:
        return "test_unseen"
    return "test_seen" if path in tested else "trainval"


def _attributes(
    path: Path,
) -> tuple[list[str], tuple[str, ...], npt.NDArray[np.float64]]:
    """Return class names, attribute names and values [class, attr]."""
    header, *rows = _table(path)
    names = [row[0] for row in rows]
    strange = [n for n in names if n.strip() in ("", ".", "..") or "/" in n]
    if strange:
        raise DataError(f"{path}: class {strange[0]!r} is no name of a folder; rename it.")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"{path}: class {twice[0]} has two rows.")
    values = np.array([[_number(path, row, column) for column in row[1:]] for row in rows])
    empty = ~values.any(axis=1)
    if empty.any():
        name = names[int(np.flatnonzero(empty)[0])]
        raise DataError(f"{path}: class {name} has no attribute at all.")
    return names, tuple(header[1:]), values


def _number(path: Path, row: Sequence[str], text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise DataError(f"{path}: class {row[0]}: {text!r} is no number of 0 or more.")
    return value


def _table(path: Path) -> list[list[str]]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; docs/own-data.md describes it.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; save it as CSV in UTF-8.") from None
    if len(rows) < 2:
        raise DataError(f"{path}: a header and a row for each class are needed.")
    if len(rows[0]) == 1:
        raise DataError(f"{path}: one column alone; separate the columns by commas.")
    wide = [row for row in rows if len(row) != len(rows[0])]
    if wide:
        raise DataError(
            f"{path}: the row of {wide[0][0]} has {len(wide[0])} cells, the header {len(rows[0])}."
        )
    return rows


def _splits(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the split of each class that splits.csv names; empty without that file."""
    path = root / "splits.csv"
    if not path.is_file():
        return {}
    splits = {}
    for row in _table(path)[1:]:
        name, split = row[0], row[-1]
        if name not in names:
            raise DataError(f"{path}: class {name} is not in attributes.csv.")
        if split not in SPLITS:
            raise DataError(f"{path}: class {name}: {split!r} is none of {', '.join(SPLITS)}.")
        splits[name] = split
    missing = sorted(set(names) - splits.keys())
    if missing:
        raise DataError(f"{path}: class {missing[0]} is missing.")
    if not {"train", "val"} <= set(splits.values()):
        raise DataError(f"{path}: at least one train and one val class are needed.")
    return splits


def _images(folder: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the paths of each class's images below `folder`, sorted."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; it holds a folder of images for each class.")
    strange = sorted(d.name for d in folder.iterdir() if d.is_dir() and d.name not in names)
    if strange:
        raise DataError(f"{folder / strange[0]}: attributes.csv has no class {strange[0]!r}.")
    found = {
        name: sorted(
            str(file.relative_to(folder))
            for file in (folder / name).rglob("*")
            if file.suffix.lower() in SUFFIXES and not file.is_dir()
        )
        for name in names
    }
    for path in (path for paths in found.values() for path in paths):
        _check_name(folder, path)
    return found


def _check_name(folder: Path, path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        name = os.fsencode(folder / path).decode(errors="backslashreplace")
        raise DataError(f"{name}: the file's name is not UTF-8; rename it.") from None


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


def _notes(names: Sequence[str], images: dict[str, list[str]]) -> tuple[str, ...]:
    empty = [name for name in names if not images[name]]
    if not empty:
        return ()
    return (f"{len(empty)} classes of attributes.csv have no image, such as {empty[0]}.",)

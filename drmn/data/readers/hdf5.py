"""Feature files as DAZLE, TransZero and MSDN read them (docs/hdf5.md): all but the features.

`read` returns the test split too, for `drmn.prepare` to divide and seal.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from drmn.data.images.catalogue import Integers
from drmn.data.images.check import Inspection
from drmn.data.readers import class_folders, split_files, word_vectors, xlsa17
from drmn.data.readers.listing import Listing
from drmn.data.readers.split_files import Official
from drmn.data.specs import DatasetSpec
from drmn.errors import DataError
from drmn.feature_files import require_dataset_of_files

PARTS = ("trainval", "test_seen", "test_unseen")
MAPS = "feature_map"


def read(file: Path, root: Path, spec: DatasetSpec) -> Listing:
    """Return the listing of the dataset in `file`, without reading its features.

    The file has no names. They and the folds are those of the official split files below `root`,
    which it must agree with; without them images and classes are numbered, with a note.

    Raises:
        ConfigError: There are no such files of the dataset.
        DataError: The file is unreadable, or contradicts itself or the split files.
    """
    require_dataset_of_files(spec.name)
    with opened(file) as content:
        found = _official(content, file, spec)
        vectors = None
        if "w2v_att" in content:
            vectors = word_vectors.checked(file, values(content, "w2v_att"), spec.attributes)
    try:
        splits = xlsa17.find_splits(root, spec)
    except DataError:  # there are none
        named, notes = _with_folds(found), [_numbered(file, root, spec)]
    else:
        named, notes = xlsa17.open_official(splits, spec), []
        _compare(found, named, file, splits)
    listing = xlsa17.described(root, named, spec, vectors)
    return replace(
        listing,
        images=_distinct(named.images),
        files=(file,) * len(named.images),
        notes=(*notes, *listing.notes),
    )


def inspected(listing: Listing, digest: str) -> Inspection:
    """Return the result of the check of images for rows of the file of that digest.

    A row is identified by the digest of its file and its number: the digests of the rows themselves
    would take a read of the whole file at each start.
    """
    rows = (f"{digest}:{row}".encode() for row in range(len(listing.images)))
    digests = tuple(hashlib.sha256(row).hexdigest()[:16] for row in rows)
    return Inspection(digests, np.zeros((len(digests), 2), dtype=np.int64), {})


@contextmanager
def opened(file: Path) -> Iterator[h5py.File]:
    """Open a file for reading.

    Raises:
        DataError: It is missing, no HDF5 file or not whole.
    """
    if not file.is_file():
        raise DataError(f"--hdf5 {file}: no such file.")
    with _damage_named(file):
        content = h5py.File(file, "r")
    with content:
        yield content


@contextmanager
def _damage_named(file: Path | str) -> Iterator[None]:
    """Raise `DataError` for what h5py raises in a `with` block where a file is damaged."""
    try:
        yield
    except (OSError, RuntimeError) as problem:
        reason = str(problem).partition("(")[2].rstrip(")") or str(problem)
        raise DataError(f"{file}: not a whole HDF5 file ({reason}); fetch it again.") from None


def dataset(content: h5py.File, name: str) -> h5py.Dataset:
    """Return the dataset called `name`."""
    with _damage_named(content.filename):
        found, have = content.get(name), ", ".join(content) or "nothing"
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{content.filename}: the dataset {name!r} is missing; it holds {have}.")
    return found


def values(content: h5py.File, name: str) -> npt.NDArray[Any]:
    """Return the numbers of a dataset that fits into memory."""
    found = dataset(content, name)
    with _damage_named(content.filename):
        return np.asarray(found[()])


def integers(content: h5py.File, name: str) -> Integers:
    """Return a dataset of whole numbers."""
    found = values(content, name).ravel()
    if found.dtype.kind not in "iuf" or not np.array_equal(found, np.floor(found)):
        raise DataError(f"{content.filename}: {name} holds something that is no whole number.")
    whole: Integers = found.astype(np.int64)
    return whole


def _official(content: h5py.File, file: Path, spec: DatasetSpec) -> Official:
    """Return the content in the form of split files, with numbers for names and without folds."""
    images, values = _images(content, file), _attributes(content, file, spec)
    found = Official(
        images=tuple(f"image {i + 1:05}" for i in range(images)),
        labels=integers(content, "labels"),
        classes=tuple(f"class {c + 1:03}" for c in range(len(values))),
        attributes=values,
        trainval=integers(content, "trainval_loc"),
        test_seen=integers(content, "test_seen_loc"),
        test_unseen=integers(content, "test_unseen_loc"),
        folds={},
    )
    if len(found.labels) != images:
        raise DataError(f"{file}: {len(found.labels)} labels for {images} images of {MAPS}.")
    _within(f"{file}: labels", found.labels, len(values), "rows of att")
    for part in PARTS:
        _within(f"{file}: the indices in {part}_loc", getattr(found, part), images, "images")
    split_files.check(found, replace(spec, naming="boxes"), file)  # no folder says a class
    return found


def _images(content: h5py.File, file: Path) -> int:
    maps = dataset(content, MAPS)
    if len(maps.shape) != 4 or 0 in maps.shape or maps.dtype.kind not in "fiu":
        raise DataError(
            f"{file}: {MAPS} is {maps.dtype} {maps.shape}; numbers for "
            "[image, channel, height, width] are needed."
        )
    return int(maps.shape[0])


def _attributes(content: h5py.File, file: Path, spec: DatasetSpec) -> npt.NDArray[np.float64]:
    unit, original = (dataset(content, name) for name in ("att", "original_att"))
    if unit.shape != original.shape or original.shape[1:] != (spec.attributes,):
        raise DataError(
            f"{file}: att is {unit.shape} and original_att {original.shape}; {spec.name} has a row "
            f"of {spec.attributes} for each class in both: is this another dataset's?"
        )
    if original.dtype.kind not in "iuf":
        raise DataError(f"{file}: original_att is {original.dtype}; numbers are needed.")
    found = values(content, "original_att").astype(np.float64)
    if not np.isfinite(found).all():
        raise DataError(f"{file}: original_att holds NaN or infinity.")
    empty = ~(found > 0).any(axis=1)
    if empty.any():
        row = int(np.flatnonzero(empty)[0])
        raise DataError(f"{file}: row {row} of original_att has no attribute at all.")
    return found


def _within(what: str, numbers: Integers, count: int, things: str) -> None:
    if not len(numbers):
        raise DataError(f"{what} are none.")
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high >= count:
        shifted = "; they look 1-based: subtract 1" if low >= 1 and high == count else ""
        raise DataError(f"{what} run from {low} to {high} for {count} {things}{shifted}.")


def _compare(found: Official, named: Official, file: Path, splits: Path) -> None:
    pairs: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {
        "labels": (found.labels, named.labels),
        "original_att": (found.attributes, named.attributes),
    }
    pairs |= {f"{p}_loc": (np.sort(getattr(found, p)), np.sort(getattr(named, p))) for p in PARTS}
    for name, (have, want) in pairs.items():
        if have.shape != want.shape or not np.allclose(have, want, rtol=1e-5):
            raise DataError(
                f"{file}: {name} {have.shape} is not that of the split files in {splits} "
                f"{want.shape}; is the file of another split, or in another order?"
            )


def _with_folds(found: Official) -> Official:
    seen = np.unique(found.labels[found.trainval])
    return replace(found, folds=class_folders.drawn_folds([found.classes[c] for c in seen]))


def _numbered(file: Path, root: Path, spec: DatasetSpec) -> str:
    return (
        f"{spec.name}: no split files below --data-root {root}, so the images and classes of "
        f"{file.name} are numbered and its folds drawn: do not compare its figures with others'."
    )


def _distinct(images: tuple[str, ...]) -> tuple[str, ...]:
    """Return names that differ where one photo shows several objects, as aPY's do."""
    if len(set(images)) == len(images):
        return images
    return tuple(f"{name}#{i + 1}" for i, name in enumerate(images))

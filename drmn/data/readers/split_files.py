"""The content of a set of official split files, and the checks that find a mixed-up one."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from drmn.data.specs import DatasetSpec
from drmn.errors import DataError

RowNumbers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Official:
    """The content of the split files, 0-based and checked against each other."""

    images: tuple[str, ...]
    """Paths below the marker folder, in the files' order."""
    labels: RowNumbers
    classes: tuple[str, ...]
    attributes: npt.NDArray[np.float64]
    """[class, attr]: as published, unnormalised."""
    trainval: RowNumbers
    test_seen: RowNumbers
    test_unseen: RowNumbers
    folds: dict[int, tuple[str, ...]]
    """The validation classes of each fold that has its lists."""


def check(official: Official, spec: DatasetSpec, splits: Path) -> None:
    """Raise `DataError` where the files in `splits` contradict `spec` or each other."""
    _check_shapes(official, spec, splits)
    _check_images(official, spec, splits)
    _check_splits(official, splits)
    _check_folds(official, splits)
    _check_digests(official, spec, splits)


def folder_class(path: str, spec: DatasetSpec) -> str:
    """Return the class of an image by its folders."""
    folders = PurePosixPath(path).parts[:-1]
    return "_".join(folders[1:]) if spec.naming == "nested" else "/".join(folders)


def digest(indices: RowNumbers) -> str:
    """Return 16 hex digits of SHA-256 over the sorted 1-based indices as little-endian int64."""
    return hashlib.sha256((np.sort(indices) + 1).astype("<i8").tobytes()).hexdigest()[:16]


def clean_split(official: Official, fold: int) -> tuple[RowNumbers, RowNumbers]:
    """Return the train and validation images of a fold, from its class lists and trainval.

    Not the shipped train_loc and val_loc: these two hold the test_seen images as well.
    """
    names = np.array(official.classes)[official.labels[official.trainval]]
    held = np.isin(names, official.folds[fold])
    return official.trainval[~held], official.trainval[held]


def mend(
    values: npt.NDArray[np.float64], spec: DatasetSpec
) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """Return attribute values with 0 for those marked missing, and a note if there are any."""
    below_zero = int((values < 0).sum())
    if not below_zero:
        return values, ()
    note = f"{spec.name}: {below_zero} attribute values marked missing (-1) are taken as 0."
    return values.clip(min=0), (note,)


def differences(official: Official, spec: DatasetSpec) -> tuple[str, ...]:
    """Return a note if `official` is a subset of the published set."""
    images, classes = len(official.images), len(official.classes)
    if (images, classes) == (spec.images, spec.classes):
        return ()
    note = (
        f"{spec.name}: a subset of the published set, {classes} of {spec.classes} classes and "
        f"{images:,} of {spec.images:,} images: do not compare its figures with published ones."
    )
    return (note,)


def _check_shapes(official: Official, spec: DatasetSpec, splits: Path) -> None:
    images, classes = len(official.images), len(official.classes)
    have = official.attributes.shape
    if have != (classes, spec.attributes):
        raise DataError(
            f"{splits / 'att_splits.mat'}: attributes are {have[1]} for {have[0]} classes where "
            f"{spec.name} has {spec.attributes} for each of {classes}; is this another dataset's?"
        )
    if len(official.labels) != images:
        raise DataError(f"{splits}: {len(official.labels)} labels for {images} image_files.")
    if images > spec.images or classes > spec.classes:
        raise DataError(
            f"{splits}: {images} images of {classes} classes, more than {spec.name} has "
            f"({spec.images} of {spec.classes})."
        )
    if not np.isfinite(official.attributes).all():
        raise DataError(f"{splits / 'att_splits.mat'}: original_att holds NaN or infinity.")
    empty = ~official.attributes.any(axis=1)
    if empty.any():
        name = official.classes[int(np.flatnonzero(empty)[0])]
        raise DataError(f"{splits / 'att_splits.mat'}: class {name} has no attribute at all.")
    low, high = official.labels.min() + 1, official.labels.max() + 1
    if low < 1 or high > classes:
        raise DataError(f"{splits}: labels run from {low} to {high} for {classes} classes.")


def _check_splits(official: Official, splits: Path) -> None:
    parts = {name: getattr(official, name) for name in ("trainval", "test_seen", "test_unseen")}
    for name, indices in parts.items():
        outside = indices[(indices < 0) | (indices >= len(official.images))]
        if len(outside):
            raise DataError(
                f"{splits}: {name}_loc points at image {outside[0] + 1} of "
                f"{len(official.images)}; att_splits.mat and res101.mat are not of one set."
            )
    every = np.concatenate(list(parts.values()))
    if len(np.unique(every)) != len(every):
        raise DataError(f"{splits}: trainval, test_seen and test_unseen share images.")
    seen, unseen = (official.labels[parts[n]] for n in ("trainval", "test_unseen"))
    both = np.intersect1d(seen, unseen)
    if len(both):
        name = official.classes[both[0]]
        raise DataError(f"{splits}: class {name} is in trainval and in test_unseen.")


def _check_images(official: Official, spec: DatasetSpec, splits: Path) -> None:
    if spec.naming == "boxes":  # one photo shows several objects, and no folder says which
        return
    twice = [path for path, times in Counter(official.images).items() if times > 1]
    if twice:
        raise DataError(
            f"{splits / 'res101.mat'}: image_files names {twice[0]} twice; fetch it again."
        )
    for path, label in zip(official.images, official.labels, strict=True):
        name = official.classes[label]
        if folder_class(path, spec) != name:
            raise DataError(
                f"{splits}: {path} has the label {name}; "
                "att_splits.mat and res101.mat are not of one set."
            )


def _check_folds(official: Official, splits: Path) -> None:
    seen = {official.classes[c] for c in np.unique(official.labels[official.trainval])}
    for k, held in official.folds.items():
        strange = sorted(set(held) - seen)
        if strange:
            raise DataError(
                f"{splits / f'valclasses{k}.txt'}: {strange[0]} has no image in trainval; "
                "a validation class must not be a test class."
            )
        if not 0 < len(set(held)) < len(seen):
            raise DataError(f"{splits / f'valclasses{k}.txt'}: {len(held)} of {len(seen)} classes.")


def _check_digests(official: Official, spec: DatasetSpec, splits: Path) -> None:
    if len(official.images) != spec.images:
        return
    parts = {name: getattr(official, name) for name in ("trainval", "test_seen", "test_unseen")}
    if 1 in official.folds:
        parts["train"], parts["val"] = clean_split(official, 1)
    for name, want in spec.digests.items():
        if name in parts and digest(parts[name]) != want:
            raise DataError(
                f"{splits}: {name} is not the proposed split of {spec.name} "
                f"(digest {digest(parts[name])}, published {want}); fetch xlsa17 again."
            )

"""A dataset that draws itself: creatures in the official layout, so CUB's reader reads them.

The same libraries draw the same bytes anywhere. The species of a genus have the same colours and
differ in the parts that wear them, so a model must learn what is where. The traps of the official
files are kept: labels that do not follow the folders, indices from 1, `train_loc` and `val_loc`
that run over the test images of seen classes.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from itertools import permutations, product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from drmn.data.demo.creatures import GROUPS, paint
from drmn.data.demo.drawing import PALETTE

NAME = "DEMO"
SEED = 7
CLASSES, UNSEEN, VALIDATION, FOLDS = 48, 12, 8, 3
PER_CLASS, TEST_PER_CLASS = 24, 5  # a fifth of a seen class is for testing
IMAGES = CLASSES * PER_CLASS
ATTRIBUTES = sum(len(options) for options in GROUPS.values())
DIMORPHIC = 1.2
"""Groups in which a class has a second look, on average."""
SIZES = np.array([len(options) for options in GROUPS.values()])
COLOURED = np.array([options == PALETTE for options in GROUPS.values()])

Indices = NDArray[np.intp]
EPITHETS = ("Common", "Lesser", "Crowned", "River", "Dusky", "Northern")
GENERA = ("Pimble", "Tufted_Wug", "Quillip", "Mumbird", "Snoodle", "Fenling", "Jubjub", "Borogove")


def render(root: Path) -> None:
    """Draw the whole dataset into `root`, unless it is there already.

    Several processes may call this at once: `root` appears whole or not at all.
    """
    if (root / NAME).is_dir():
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as scratch:
        whole = Path(scratch) / "whole"
        _draw_images(whole / NAME)
        _write_splits(whole / "xlsa17" / "data" / NAME)
        _put_in_place(whole, root)


def _put_in_place(whole: Path, root: Path) -> None:
    try:
        whole.replace(root)
    except OSError:
        if not (root / NAME).is_dir():  # else another process was faster, and drew the same
            raise


def drawn(label: int, index: int) -> dict[str, str]:
    """Return what picture `index` of class `label` shows: one value for each group."""
    rng = np.random.default_rng((SEED, label, index, 0))
    usual, other, share = (table[label] for table in _classes())
    shown = np.where(rng.random(len(GROUPS)) < share, other, usual)
    return {
        group: options[value] for (group, options), value in zip(GROUPS.items(), shown, strict=True)
    }


@cache
def _folders() -> Indices:
    """Which folder each label has; as in CUB the labels do not count the folders."""
    return np.random.default_rng((SEED, 2)).permutation(CLASSES)


@cache
def names() -> tuple[str, ...]:
    """Name the classes in the order of labels."""
    kinds = [f"{epithet}_{genus}" for genus, epithet in product(GENERA, EPITHETS)]
    return tuple(f"{folder + 1:03d}.{kinds[folder]}" for folder in _folders())


@cache
def _classes() -> tuple[Indices, Indices, NDArray[np.float64]]:
    """Return, by class and group, the usual value, another one and how often the other shows."""
    rng = np.random.default_rng((SEED, 3))
    usual = np.concatenate([_genus(kind, rng) for kind in _kinds(rng)])[_folders()]
    share = np.where(rng.random(usual.shape) < DIMORPHIC / len(GROUPS), 0.3, 0.0)
    return usual, (usual + rng.integers(1, SIZES, usual.shape)) % SIZES, share


def _kinds(rng: np.random.Generator) -> Indices:
    """Choose the common traits of each genus; each value of a group gets its even share."""
    genera = np.arange(len(GENERA))
    return np.stack([rng.permutation(genera % size) for size in SIZES], axis=1)


def _genus(kind: Indices, rng: np.random.Generator) -> Indices:
    """Make the species of a genus: the same four colours, each time on other parts."""
    species = np.tile(kind, (len(EPITHETS), 1))
    colours = rng.permutation(len(PALETTE))[: COLOURED.sum()]
    species[:, COLOURED] = rng.permutation(list(permutations(colours)))[: len(species)]
    return species


def attribute_names() -> list[str]:
    """Name the attributes, in the order of the rows of `att`."""
    return [f"{group}::{value}" for group, options in GROUPS.items() for value in options]


def _shares() -> NDArray[np.float64]:
    """Count, in per cent of a class's pictures, how often each attribute was drawn."""
    row = {name: number for number, name in enumerate(attribute_names())}
    shares = np.zeros((ATTRIBUTES, CLASSES))
    for label, index in np.ndindex(CLASSES, PER_CLASS):
        for group, value in drawn(label, index).items():
            shares[row[f"{group}::{value}"], label] += 1
    return 100 * shares / PER_CLASS


def _draw_images(folder: Path) -> None:
    for label, name in enumerate(names()):
        (folder / "images" / name).mkdir(parents=True)
        for index in range(PER_CLASS):
            picture = paint(drawn(label, index), (SEED, label, index, 1))
            picture.save(folder / "images" / name / _file(name, index), quality=92)
    lines = [f"{number} {name}\n" for number, name in enumerate(attribute_names(), start=1)]
    (folder / "attributes.txt").write_text("".join(lines))


def _file(name: str, index: int) -> str:
    return f"{name}_{index + 1:04d}.jpg"


def _write_splits(folder: Path) -> None:
    folder.mkdir(parents=True)
    for stem, labels in _class_lists().items():
        lines = sorted(f"{names()[label]}\n" for label in labels)
        (folder / f"{stem}.txt").write_text("".join(lines))
    by_folder = np.argsort(names())
    labels = np.repeat(by_folder, PER_CLASS)
    files = [
        f"/{NAME.lower()}/images/{names()[label]}/{_file(names()[label], index)}"
        for label, index in product(by_folder, range(PER_CLASS))
    ]
    images = {"image_files": _cells(files), "labels": (labels[:, None] + 1).astype(np.uint8)}
    _save(folder / "res101.mat", images)
    _save(folder / "att_splits.mat", _class_vectors() | _locations(labels))


def _class_lists() -> dict[str, Indices]:
    """Divide the classes; no class is for validation in two folds."""
    order = np.random.default_rng((SEED, 4)).permutation(CLASSES)
    seen = order[UNSEEN:]
    lists = {"allclasses": order, "trainvalclasses": seen, "testclasses": order[:UNSEEN]}
    for fold in range(FOLDS):
        held = seen[fold * VALIDATION : (fold + 1) * VALIDATION]
        lists[f"valclasses{fold + 1}"] = held
        lists[f"trainclasses{fold + 1}"] = np.setdiff1d(seen, held)
    return lists


def _locations(labels: Indices) -> dict[str, NDArray[np.uint16]]:
    """Divide the images as the official files do, the trap in train_loc and val_loc included."""
    lists = _class_lists()
    seen = np.isin(labels, lists["trainvalclasses"])
    few = np.tile(np.arange(PER_CLASS) < TEST_PER_CLASS, (CLASSES, 1))
    test = np.random.default_rng((SEED, 5)).permuted(few, axis=1).ravel()
    masks = {
        "trainval_loc": seen & ~test,
        "test_seen_loc": seen & test,
        "test_unseen_loc": ~seen,
        "train_loc": np.isin(labels, lists["trainclasses1"]),
        "val_loc": np.isin(labels, lists["valclasses1"]),
    }
    return {
        name: (np.flatnonzero(mask)[:, None] + 1).astype(np.uint16) for name, mask in masks.items()
    }


def _class_vectors() -> dict[str, NDArray[np.generic]]:
    shares = _shares()
    att = shares / np.linalg.norm(shares, axis=0)
    return {"allclasses_names": _cells(names()), "original_att": shares, "att": att}


def _cells(texts: Sequence[str]) -> NDArray[np.object_]:
    return np.array(texts, dtype=object)[:, None]


def _save(file: Path, fields: Mapping[str, NDArray[np.generic]]) -> None:
    """Write a .mat file whose header has no date, so that the same data are the same bytes."""
    buffer = BytesIO()
    savemat(buffer, dict(fields))
    file.write_bytes(b"MATLAB 5.0 MAT-file".ljust(116) + buffer.getvalue()[116:])

"""Data of a refit and of its one test: trainval to train on, the sealed test split to judge on."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from drmn.data.images.catalogue import TRAINVAL, Catalogue, Fence
from drmn.data.sealed.open import open_test
from drmn.data.sealed.seal import TestPart

SEALED = "sealed"
"""Folder of the sealed parts and their ledger, below that of results."""


def open_refit(
    catalogue: Catalogue, results: Path, *, study: str, purpose: str, again: bool = False
) -> Catalogue:
    """Open the test split that belongs to a development catalogue, and join the two.

    The opening is in the ledger before anything of the split is read. One that died before it had
    the data goes on, if it is for the same study and purpose.

    Args:
        catalogue: The development data, with their files.
        results: The folder of results.
        study: The study whose figures it is opened for.
        purpose: Purpose of the opening, in words.
        again: Allow a second opening; the ledger and every report show it.

    Returns:
        All images in one catalogue, trainval first; fold 1 has the classes that only the test set
        has, and `splits` says which images are test images.

    Raises:
        DataError: It was opened before, was altered, or is not there.
    """
    test = open_test(
        results / SEALED,
        dataset=catalogue.dataset,
        development=catalogue.digest,
        study=study,
        purpose=purpose,
        again=again,
        resume=True,
    )
    return _joined(catalogue, test)


def _joined(catalogue: Catalogue, test: TestPart) -> Catalogue:
    splits = (*(TRAINVAL for _ in catalogue.images), *test.splits)
    classes = (*catalogue.classes, *test.unseen)
    place = {name: number for number, name in enumerate(classes)}
    sizes, boxes = catalogue.sizes, catalogue.boxes
    return replace(
        catalogue,
        images=(*catalogue.images, *test.images),
        files=(*catalogue.files, *_files(catalogue, test)),
        digests=(*catalogue.digests, *test.digests),
        sizes=None if sizes is None else np.concatenate([sizes, test.sizes]),
        boxes=None if boxes is None or test.boxes is None else np.concatenate([boxes, test.boxes]),
        labels=np.concatenate([catalogue.labels, [place[name] for name in test.labels]]),
        classes=classes,
        attributes=np.concatenate([catalogue.attributes, test.attributes]),
        folds={1: tuple(test.unseen)},
        splits=splits,
        fence=Fence(),  # nothing is sealed from the judge of the test
        notes=(),
        skipped=(*catalogue.skipped, *test.skipped),
    )


def _files(catalogue: Catalogue, test: TestPart) -> list[Path]:
    """Return the current path of each test image.

    The sealed part has the paths of when it was sealed; where the data have moved since, the test
    images have moved with those of trainval.
    """
    root = _root(catalogue)
    found = []
    for name, file in zip(test.images, test.files, strict=True):
        moved = None if root is None else root / name
        found.append(moved if moved is not None and moved.is_file() else file.absolute())
    return found


def _root(catalogue: Catalogue) -> Path | None:
    """Return the folder that holds the images; None if their paths do not end in their names."""
    name, file = Path(catalogue.images[0]), catalogue.files[0]
    root = file.parents[len(name.parts) - 1]
    return root if root / name == file else None

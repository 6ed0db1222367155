"""aPascal and aYahoo: photos of several objects, each known by its box (Farhadi et al., CVPR 2009).

The proposed splits name a photo once for each object in it, but not which object. The boxes are in
the tables of `attribute_data`: photo, class, left, top, right, bottom, 64 attributes.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from drmn.data.images.catalogue import Integers
from drmn.data.readers import matlab
from drmn.errors import DataError

BOX_TABLES = {
    "apascal_train.txt": "JPEGImages",
    "apascal_test.txt": "JPEGImages",
    "ayahoo_test.txt": "ayahoo_test_images",
}
"""The folder of the photos of each table."""


def boxes(tables: Path, images: Sequence[str], labels: Sequence[str]) -> Integers:
    """Return the box [image, 4] of each object, given its photo, its class and the tables' folder.

    Objects of one class in one photo are taken in the tables' order.

    Raises:
        DataError: A table is missing or unreadable, or has no such object.
    """
    known = _objects(tables)
    found: list[tuple[int, ...]] = []
    for image, label in zip(images, labels, strict=True):
        waiting = known[image, label]
        if not waiting:
            raise DataError(
                f"{tables}: no {label} in {image} is left for image "
                f"{len(found) + 1} of res101.mat; are the tables whole?"
            )
        found.append(waiting.pop(0))
    return np.array(found, dtype=np.int64)


def _objects(tables: Path) -> defaultdict[tuple[str, str], list[tuple[int, ...]]]:
    objects: defaultdict[tuple[str, str], list[tuple[int, ...]]] = defaultdict(list)
    for table, folder in BOX_TABLES.items():
        path = tables / table
        if not path.is_file():
            raise DataError(f"{path}: no such file; it holds the boxes of aPY's objects.")
        for number, line in enumerate(matlab.lines(path), start=1):
            try:
                photo, label, *rest = line.split()
                left, top, right, bottom = map(int, rest[:4])
            except ValueError:
                raise DataError(f"{path}: line {number} has no box of four numbers.") from None
            # Counted from 1, both ends included, as PASCAL VOC does.
            box = (max(left - 1, 0), max(top - 1, 0), right, bottom)
            objects[str(PurePosixPath(folder, photo)), label].append(box)
    return objects


def named(images: Sequence[str], where: Integers) -> tuple[str, ...]:
    """Return a name for each object: its photo and its box."""
    return tuple(
        f"{image}#{','.join(map(str, box))}"
        for image, box in zip(images, where.tolist(), strict=True)
    )

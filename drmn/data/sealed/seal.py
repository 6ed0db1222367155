"""Sealing of a test split: all data about the test images go into a separate folder.

A reader of official files seals the images that are not in the catalogue. Nothing here reads a
sealed folder; `drmn.data.sealed.open` does, and `drmn.final` alone may import it.
"""

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from drmn.data.images.catalogue import SIDES, Integers
from drmn.io import atomic
from drmn.io.file_digest import tables

ABOUT_FILE, IMAGES_FILE, CLASSES_FILE = "about.json", "images.parquet", "classes.parquet"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TestPart:
    """The test images with their classes, and the classes that only the test set has."""

    dataset: str
    development: str
    """The digest of the development catalogue that it belongs to."""
    images: tuple[str, ...]
    """Paths below the marker folder."""
    files: tuple[Path, ...]
    """Current path of each image; not part of the content."""
    digests: tuple[str, ...]
    """Digest of each image file's content."""
    labels: tuple[str, ...]
    """The name of each image's class: a number would mean another class in another list."""
    splits: tuple[str, ...]
    """Split of each image: test_seen or test_unseen."""
    sizes: Integers
    """[image, 2]: height, width."""
    boxes: Integers | None
    """[image, 4]: left, top, right, bottom of the crop that is the image (aPY alone)."""
    unseen: tuple[str, ...]
    """The classes that only the test set has."""
    attributes: npt.NDArray[np.float64]
    """[unseen, attr]: L2-normalised rows."""
    skipped: tuple[str, ...] = ()
    """The test images that cannot be read and were left out."""

    @property
    def digest(self) -> str:
        """Return 16 hex digits that change with anything that could change a result.

        The development data are not part of it: a test set that was opened stays so when they
        change.
        """
        arrays = [self.sizes, self.attributes, *([] if self.boxes is None else [self.boxes])]
        plain = [self.dataset, self.images, self.digests, self.labels, self.splits, self.unseen]
        seen = hashlib.sha256(json.dumps(plain).encode())
        for array in arrays:
            seen.update(array.tobytes())
        return seen.hexdigest()[:16]


def split_of(part: TestPart) -> str:
    """Return 16 hex digits of the test of a part, whatever its images' content is.

    Images that were skipped are included: without them it is the same test.
    """
    tested = [part.dataset, sorted(part.unseen or part.images + part.skipped)]
    return hashlib.sha256(json.dumps(tested).encode()).hexdigest()[:16]


def folder_name(dataset: str, development: str, digest: str) -> str:
    """Return the name of a sealed folder; it starts with the names that an opening has."""
    return f"{dataset}-{development}-{digest[:12]}"


def seal(root: Path, part: TestPart) -> Path:
    """Write `part` into a folder below `root` and return it; one that exists is left as it is.

    An existing folder keeps the paths of its images too: `files` may be out of date.
    """
    place = root / folder_name(part.dataset, part.development, part.digest)
    if place.is_dir():
        return place
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=root) as scratch:
        building = Path(scratch) / place.name
        building.mkdir(mode=0o700)
        _write(building, part)
        _publish(building, place)
    atomic.sync(root)
    return place


def _write(folder: Path, part: TestPart) -> None:
    images = pa.table(_image_columns(part))
    skipped = {"skipped": json.dumps(part.skipped)}
    pq.write_table(images.replace_schema_metadata(skipped), folder / IMAGES_FILE)
    classes = {"name": list(part.unseen), "attributes": list(part.attributes)}
    pq.write_table(pa.table(classes), folder / CLASSES_FILE)
    about = {"dataset": part.dataset, "development": part.development, "digest": part.digest}
    about |= {"split": split_of(part)}
    (folder / ABOUT_FILE).write_text(json.dumps(about | {"files": tables(folder)}, indent=1))
    for file in folder.iterdir():
        file.chmod(0o400)
        atomic.sync(file)
    atomic.sync(folder)


def _image_columns(part: TestPart) -> dict[str, object]:
    columns: dict[str, object] = {
        "path": list(part.images),
        "digest": list(part.digests),
        "class": list(part.labels),
        "split": list(part.splits),
        "height": part.sizes[:, 0],
        "width": part.sizes[:, 1],
        "file": [str(file.absolute()) for file in part.files],
    }
    if part.boxes is not None:
        columns |= dict(zip(SIDES, part.boxes.T, strict=True))
    return columns


def _publish(building: Path, place: Path) -> None:
    try:
        os.replace(building, place)  # noqa: PTH105 - renames a folder in one step, or not at all
    except OSError:
        if not place.is_dir():  # else another process sealed the same content first
            raise

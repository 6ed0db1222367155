"""The catalogue: the development part of a dataset, read from official files or a store.

It holds the images of trainval and the classes they belong to. The test images, and the classes
and attribute vectors that only the test set has, are not in it: only the hashes of their names are,
so that one that strays into development is found.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from drmn.data.images.decode import Photo, photos
from drmn.errors import ConfigError, DataError

FOLDS = (1, 2, 3)
TRAINVAL = "trainval"
"""Split of the images that may be trained on."""
SIDES = ("left", "top", "right", "bottom")

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fence:
    """The hashed names of sealed images and classes: enough to recognise, not to learn from."""

    images: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    """Classes that only the test set has."""

    def check(self, dataset: str, images: Iterable[str], classes: Iterable[str]) -> None:
        """Raise `DataError` if an image or a class is a sealed one."""
        for kind, names, sealed in (
            ("image", images, self.images),
            ("class", classes, self.classes),
        ):
            strays = [name for name in names if hashed(name) in sealed]
            if strays:
                raise DataError(
                    f"{dataset}: the development data hold {strays[0]}, a test {kind} that is "
                    "sealed; run jobs/prepare.py on the dataset again."
                )


def hashed(name: str) -> str:
    """Return the hash of a name in a fence."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def fence_of(images: Iterable[str], classes: Iterable[str]) -> Fence:
    """Return the fence of these images and classes."""
    return Fence(images=frozenset(map(hashed, images)), classes=frozenset(map(hashed, classes)))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Catalogue:
    """Development images with their classes, attributes and class folds."""

    dataset: str
    images: tuple[str, ...]
    """The path of each below the folder that holds them; two of one photo differ by their box."""
    files: tuple[Path, ...] = ()
    """Current path of each; not part of the content, and unknown to a store."""
    digests: tuple[str, ...]
    """Digest of each image file's content."""
    sizes: Integers | None = None
    """[image, 2]: height and width in pixels."""
    boxes: Integers | None = None
    """[image, 4]: left, top, right and bottom of the crop that is the image, if files show more."""
    labels: Integers
    """[image]: an index into `classes`."""
    classes: tuple[str, ...]
    attributes: npt.NDArray[np.float64]
    """[class, attr]: L2-normalised rows."""
    attribute_names: tuple[str, ...]
    words: npt.NDArray[np.float32] | None = None
    """[attr, dim]: a word vector for each attribute."""
    folds: dict[int, tuple[str, ...]]
    """The validation classes of each fold; the other classes are its training classes."""
    splits: tuple[str, ...] = ()
    """Split of each image (trainval, test_seen or test_unseen) in the data of a refit; else empty:
    all are of trainval."""
    fence: Fence = field(default_factory=Fence)
    notes: tuple[str, ...] = ()
    """Notes to print: differences from the published files, values that were repaired."""
    skipped: tuple[str, ...] = ()
    """Images of trainval that cannot be read and were left out."""

    def require_fold(self, fold: int) -> None:
        """Raise `ConfigError` unless there is this division into train and validation classes."""
        if fold not in self.folds:
            have = ", ".join(map(str, self.folds))
            raise ConfigError(f"fold {fold}: {self.dataset} has the class folds {have}.")

    @property
    def digest(self) -> str:
        """Return 16 hex digits that change with anything that could change a result."""
        seen = hashlib.sha256()
        folds = {str(k): sorted(v) for k, v in self.folds.items()}
        fence = [sorted(self.fence.images), sorted(self.fence.classes)]
        names = [self.images, self.digests, self.classes, self.attribute_names]
        seen.update(json.dumps([self.dataset, *names, folds, fence], sort_keys=True).encode())
        seen.update(self.labels.tobytes() + self.attributes.tobytes())
        if self.splits:
            seen.update(json.dumps(self.splits).encode())
        for part in (self.words, self.boxes):
            seen.update(b"none" if part is None else part.tobytes())
        return seen.hexdigest()[:16]

    def photos(self) -> list[Photo]:
        """Return the file and the box of each image."""
        return photos(self.files, self.boxes, self.images)

    def places(self) -> dict[str, Path]:
        """Return the path of each image, by its name; empty for the catalogue of a store."""
        return dict(zip(self.images, self.files, strict=False))


def write(folder: Path, catalogue: Catalogue) -> None:
    """Write `catalogue` into `folder` as four Parquet tables."""
    about = {key: getattr(catalogue, key) for key in ("dataset", "notes", "skipped")}
    about["digest"] = catalogue.digest
    table = pa.table(_image_columns(catalogue))
    table = table.replace_schema_metadata({"about": json.dumps(about)})
    pq.write_table(table, folder / "images.parquet")
    held = {
        f"val{k}": [c in names for c in catalogue.classes]
        for k, names in sorted(catalogue.folds.items())
    }
    classes = {"name": list(catalogue.classes), "attributes": list(catalogue.attributes), **held}
    pq.write_table(pa.table(classes), folder / "classes.parquet")
    named: dict[str, Any] = {"name": list(catalogue.attribute_names)}
    if catalogue.words is not None:
        named["word"] = list(catalogue.words)
    pq.write_table(pa.table(named), folder / "attributes.parquet")
    sealed = {"images": catalogue.fence.images, "classes": catalogue.fence.classes}
    rows = [(kind, name) for kind, names in sealed.items() for name in sorted(names)]
    fence = {"kind": [kind for kind, _ in rows], "hash": [name for _, name in rows]}
    strings = pa.schema([("kind", pa.string()), ("hash", pa.string())])
    pq.write_table(pa.table(fence, schema=strings), folder / "fence.parquet")


def _image_columns(catalogue: Catalogue) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "path": list(catalogue.images),
        "digest": list(catalogue.digests),
        "class": [catalogue.classes[label] for label in catalogue.labels],
        "split": list(catalogue.splits) or [TRAINVAL] * len(catalogue.images),
    }
    if catalogue.sizes is not None:
        columns |= {"height": catalogue.sizes[:, 0], "width": catalogue.sizes[:, 1]}
    if catalogue.boxes is not None:
        columns |= {side: catalogue.boxes[:, i] for i, side in enumerate(SIDES)}
    return columns


def read(folder: Path) -> Catalogue:
    """Return the catalogue that was written into `folder`."""
    images = pq.read_table(folder / "images.parquet")
    classes = pq.read_table(folder / "classes.parquet").to_pydict()
    named = pq.read_table(folder / "attributes.parquet").to_pydict()
    sealed = pq.read_table(folder / "fence.parquet").to_pylist()
    about = json.loads(images.schema.metadata[b"about"])
    names = classes["name"]
    place = {name: i for i, name in enumerate(names)}
    fence = {k: frozenset(r["hash"] for r in sealed if r["kind"] == k) for k in _FENCED}
    splits = tuple(images["split"].to_pylist())
    return Catalogue(
        dataset=about["dataset"],
        images=tuple(images["path"].to_pylist()),
        digests=tuple(images["digest"].to_pylist()),
        sizes=_columns(images, ("height", "width")),
        boxes=_columns(images, SIDES),
        labels=np.array([place[name] for name in images["class"].to_pylist()], dtype=np.int64),
        classes=tuple(names),
        attributes=np.array(classes["attributes"]),
        attribute_names=tuple(named["name"]),
        words=np.array(named["word"], dtype=np.float32) if "word" in named else None,
        folds={
            k: tuple(n for n, held in zip(names, classes[f"val{k}"], strict=True) if held)
            for k in FOLDS
            if f"val{k}" in classes
        },
        splits=splits if set(splits) != {TRAINVAL} else (),
        fence=Fence(**fence),
        notes=tuple(about["notes"]),
        skipped=tuple(about["skipped"]),
    )


_FENCED = ("images", "classes")


def _columns(table: pa.Table, names: Iterable[str]) -> Integers | None:
    if not set(names) <= set(table.column_names):
        return None
    return np.stack([table[name].to_numpy() for name in names], axis=1)

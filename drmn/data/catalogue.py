"""The catalogue: what development may know of a dataset, read from official files or a store.

It holds the images of trainval and the classes they belong to. The test images, and the classes
and attribute vectors that only the test set has, are not in it.
"""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from drmn.errors import DataError

FOLDS = (1, 2, 3)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Catalogue:
    """Development images with their classes, attributes and class folds."""

    dataset: str
    root: Path
    """Image paths are relative to it; it is no part of the content."""
    images: tuple[str, ...]
    digests: tuple[str, ...]
    """Of each image file's content."""
    labels: npt.NDArray[np.int64]
    """[image]: an index into `classes`."""
    classes: tuple[str, ...]
    attributes: npt.NDArray[np.float64]
    """[class, attr]: L2-normalised rows."""
    attribute_names: tuple[str, ...]
    words: npt.NDArray[np.float32] | None = None
    """[attr, dim]: a word vector for each attribute."""
    folds: dict[int, tuple[str, ...]]
    """The validation classes of each fold; the other classes are its training classes."""
    notes: tuple[str, ...] = ()
    """What a reader should be told: differences from the published files, values mended."""

    @property
    def digest(self) -> str:
        """Return 16 hex digits that change with anything that could change a result."""
        seen = hashlib.sha256()
        folds = {str(k): sorted(v) for k, v in self.folds.items()}
        plain = [self.dataset, self.images, self.digests, self.classes, self.attribute_names, folds]
        seen.update(json.dumps(plain, sort_keys=True).encode())
        seen.update(self.labels.tobytes() + self.attributes.tobytes())
        if self.words is not None:
            seen.update(self.words.tobytes())
        return seen.hexdigest()[:16]

    def without(self, dropped: set[str]) -> "Catalogue":
        """Return this catalogue less some images."""
        keep = [i for i, path in enumerate(self.images) if path not in dropped]
        return replace(
            self,
            images=tuple(self.images[i] for i in keep),
            digests=tuple(self.digests[i] for i in keep),
            labels=self.labels[keep],
        )


def write(folder: Path, catalogue: Catalogue) -> None:
    """Write `catalogue` into `folder` as three Parquet tables."""
    images = {
        "path": list(catalogue.images),
        "digest": list(catalogue.digests),
        "label": catalogue.labels,
    }
    about = {"dataset": catalogue.dataset, "notes": catalogue.notes}
    table = pa.table(images).replace_schema_metadata({"about": json.dumps(about)})
    pq.write_table(table, folder / "images.parquet")
    held = {
        f"val{k}": [c in names for c in catalogue.classes]
        for k, names in sorted(catalogue.folds.items())
    }
    classes = {"name": list(catalogue.classes), "attributes": list(catalogue.attributes), **held}
    pq.write_table(pa.table(classes), folder / "classes.parquet")
    named: dict[str, object] = {"name": list(catalogue.attribute_names)}
    if catalogue.words is not None:
        named["word"] = list(catalogue.words)
    pq.write_table(pa.table(named), folder / "attributes.parquet")


def read(folder: Path) -> Catalogue:
    """Return the catalogue that was written into `folder`."""
    images = pq.read_table(folder / "images.parquet")
    classes = pq.read_table(folder / "classes.parquet").to_pydict()
    named = pq.read_table(folder / "attributes.parquet").to_pydict()
    about = json.loads(images.schema.metadata[b"about"])
    names = classes["name"]
    return Catalogue(
        dataset=about["dataset"],
        root=folder,
        images=tuple(images["path"].to_pylist()),
        digests=tuple(images["digest"].to_pylist()),
        labels=images["label"].to_numpy(),
        classes=tuple(names),
        attributes=np.array(classes["attributes"]),
        attribute_names=tuple(named["name"]),
        words=np.array(named["word"], dtype=np.float32) if "word" in named else None,
        folds={
            k: tuple(n for n, held in zip(names, classes[f"val{k}"], strict=True) if held)
            for k in FOLDS
            if f"val{k}" in classes
        },
        notes=tuple(about["notes"]),
    )


def file_digests(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return 16 hex digits of SHA-256 of each file's content."""
    with ThreadPoolExecutor() as pool:  # hashing lets other threads run
        return tuple(pool.map(lambda p: hashlib.sha256(p.read_bytes()).hexdigest()[:16], paths))


def read_words(path: Path, count: int) -> npt.NDArray[np.float32] | None:
    """Return the word vectors [attr, dim] in a .npy file, or None where there is none.

    Raises:
        DataError: It does not hold one vector for each of `count` attributes.
    """
    if not path.is_file():
        return None
    try:
        words = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        raise DataError(f"{path}: not a readable .npy file of numbers ({problem}).") from None
    if words.ndim != 2 or len(words) != count:
        raise DataError(f"{path}: shape {words.shape} where {count} word vectors are needed.")
    vectors: npt.NDArray[np.float32] = words.astype(np.float32)
    return vectors

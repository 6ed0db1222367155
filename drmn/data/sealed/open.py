"""Opening of a sealed test split, recorded in the ledger before any of it is read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from drmn.data.images.catalogue import SIDES
from drmn.data.sealed import ledger
from drmn.data.sealed.seal import (
    ABOUT_FILE,
    CLASSES_FILE,
    IMAGES_FILE,
    TestPart,
    folder_name,
    split_of,
)
from drmn.errors import DataError
from drmn.io.file_digest import tables


def open_test(
    root: Path,
    *,
    dataset: str,
    development: str,
    study: str,
    purpose: str,
    again: bool = False,
    resume: bool = False,
) -> TestPart:
    """Return the test part of a development catalogue, and record its opening in the ledger.

    A part is opened once, whichever study asks: two studies that read one test set choose on it.
    The entry is written before labels are read, so an opening that then fails counts.

    Args:
        root: The folder of sealed parts and their ledger.
        dataset: Name of the dataset.
        development: The digest of the development catalogue.
        study: The study whose figures it is opened for.
        purpose: Purpose of the opening, in words.
        again: Allow a second opening; the ledger and every report show it.
        resume: Go on with the last opening, if it was for the same study and purpose.

    Raises:
        DataError: There is no such part, it was altered, it was opened before, or the ledger was
            tampered with.
    """
    folder = _find(root, dataset, development)
    digest, split = _checked(folder, dataset, development)
    about = {"dataset": dataset, "sealed": digest, "split": split, "study": study}
    ledger.append(root, folder, **about, purpose=purpose, again=again, resume=resume)
    part = _read(folder, dataset, development)
    if (part.digest, split_of(part)) != (digest, split):
        raise _altered(folder / ABOUT_FILE)
    return part


def _find(root: Path, dataset: str, development: str) -> Path:
    start = folder_name(dataset, development, "")
    every = root.iterdir() if root.is_dir() else ()
    found = sorted(folder for folder in every if folder.name.startswith(start))
    if not found:
        raise DataError(
            f"{root}: no sealed test split of {dataset} for the development data {development}; "
            "run jobs/prepare.py."
        )
    if len(found) > 1:
        names = ", ".join(folder.name for folder in found)
        raise DataError(
            f"{root}: {len(found)} test splits of {dataset} belong to one development data: "
            f"{names}; the files of the test images changed in between, so move away the folders "
            "whose images are no longer there."
        )
    return found[0]


def _checked(folder: Path, dataset: str, development: str) -> tuple[str, str]:
    """Return the digest and the split of `folder`, if its files and its name agree with it."""
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT_FILE).read_text())
        digest, split, files = str(about["digest"]), str(about["split"]), dict(about["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise _altered(folder / ABOUT_FILE) from None
    if folder.name != folder_name(dataset, development, digest):
        raise _altered(folder / ABOUT_FILE)
    now = tables(folder)
    for name in (IMAGES_FILE, CLASSES_FILE):
        if name not in now or now[name] != files.get(name):
            raise _altered(folder / name)
    return digest, split


def _altered(path: Path) -> DataError:
    return DataError(
        f"{path}: not as it was sealed; put a copy of it back, or move its folder away and run "
        "jobs/prepare.py."
    )


def _read(folder: Path, dataset: str, development: str) -> TestPart:
    images = pq.read_table(folder / IMAGES_FILE)
    classes = pq.read_table(folder / CLASSES_FILE).to_pydict()
    texts = {name: tuple(images[name].to_pylist()) for name in ("path", "digest", "class", "split")}
    return TestPart(
        dataset=dataset,
        development=development,
        images=texts["path"],
        files=tuple(map(Path, images["file"].to_pylist())),
        digests=texts["digest"],
        labels=texts["class"],
        splits=texts["split"],
        sizes=_columns(images, ("height", "width")),
        boxes=_columns(images, SIDES) if SIDES[0] in images.column_names else None,
        unseen=tuple(classes["name"]),
        attributes=np.array(classes["attributes"]).reshape(len(classes["name"]), -1)
        if classes["name"]
        else np.zeros((0, 0)),
        # Parts that were sealed by earlier versions have no record of skipped images.
        skipped=tuple(json.loads((images.schema.metadata or {}).get(b"skipped", b"[]"))),
    )


def _columns(table: pa.Table, names: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.stack([table[name].to_numpy() for name in names], axis=1)

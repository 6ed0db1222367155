"""The development data of a fold as a file that DAZLE, TransZero and MSDN read (docs/hdf5.md)."""

import json
import math
import shutil
from pathlib import Path

import h5py
import numpy as np
import torch

from drmn.data.splits import development
from drmn.data.splits.development import Development
from drmn.data.store import feature_store
from drmn.data.store.feature_store import Store
from drmn.errors import DataError
from drmn.io import atomic
from drmn.level_names import LevelName, in_order

EXPORT_BATCH = 32


def write_hdf5(file: Path, folder: Path, fold: int) -> tuple[str, ...]:
    """Write a fold of the store in `folder` into a new file; return notes about it.

    Validation takes the place of test: the file's test_seen is val-seen, its test_unseen is
    val-unseen. Nothing of the test split is in it, for nothing of it is in a store.

    Raises:
        ConfigError: There is no such fold.
        DataError: The file exists, or the disk has no space for it, or its maps are not square.
    """
    store, data = feature_store.read(folder), development.open_store(folder, fold=fold)
    stride = in_order(store.levels)[-1]
    images, shape = len(store.catalogue.images), store.levels[stride].shape[1:]
    _check(file, images, shape)
    building = file.with_name(f".{file.name}.new")
    try:
        with h5py.File(building, "w") as content:
            _write_tables(content, store, data)
            _write_maps(content, store, stride)
            content.attrs["about"] = json.dumps({"store": store.key.folder, "fold": fold})
        atomic.sync(building)
        building.replace(file)
    finally:
        building.unlink(missing_ok=True)
    atomic.sync(file.absolute().parent)
    return _notes(store, data, stride)


def check_target(file: Path) -> None:
    """Raise `DataError` if `file` cannot be made."""
    if file.exists():
        raise DataError(f"--export-hdf5 {file}: exists; move it away or give another name.")
    if not file.absolute().parent.is_dir():
        raise DataError(f"--export-hdf5 {file}: no such folder to write into.")


def _check(file: Path, images: int, shape: tuple[int, ...]) -> None:
    folder, (regions, channels) = file.absolute().parent, shape
    check_target(file)
    if math.isqrt(regions) ** 2 != regions:
        raise DataError(f"--export-hdf5 {file}: {regions} regions make no square map.")
    need, free = 4 * images * regions * channels, shutil.disk_usage(folder).free
    if need > free:
        raise DataError(
            f"--export-hdf5 {file}: {need / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free."
        )


def _write_tables(content: h5py.File, store: Store, data: Development) -> None:
    catalogue = store.catalogue
    content["labels"] = catalogue.labels
    parts = {"trainval": data.train, "test_seen": data.val_seen, "test_unseen": data.val_unseen}
    for name, split in parts.items():
        content[f"{name}_loc"] = split.rows.numpy()
    content["att"] = catalogue.attributes
    # The published values are not in a store. Readers take original_att / 100 for values in 0..1.
    content["original_att"] = 100 * catalogue.attributes / catalogue.attributes.max()
    if catalogue.words is not None:
        content["w2v_att"] = catalogue.words


def _write_maps(content: h5py.File, store: Store, stride: LevelName) -> None:
    level, images = store.levels[stride], len(store.catalogue.images)
    _, regions, channels = level.shape
    side = math.isqrt(regions)
    maps = content.create_dataset(
        "feature_map", (images, channels, side, side), dtype=np.float32
    )  # in one piece: h5py's chunks would mix images
    for rows in torch.arange(images).split(EXPORT_BATCH):
        part = level.rows(rows).float().transpose(1, 2)  # [image, channel, region]
        maps[rows[0] : rows[-1] + 1] = part.reshape(len(rows), channels, side, side).numpy()


def _notes(store: Store, data: Development, stride: LevelName) -> tuple[str, ...]:
    parts = (
        f"{len(data.train)} training images are its trainval, {len(data.val_seen)} of val-seen its "
        f"test_seen, {len(data.val_unseen)} of val-unseen its test_unseen; no test image is in it."
    )
    notes = [parts]
    others = [str(s) for s in in_order(store.levels) if s != stride]
    if others:
        notes.append(f"of the levels {stride} alone is in it, without {'+'.join(others)}.")
    if store.catalogue.words is None:
        notes.append("w2v_att is not in it: there are no word vectors.")
    return tuple(notes)

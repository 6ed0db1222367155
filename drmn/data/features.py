"""The feature store: backbone maps of a catalogue, named after all that decides their content.

A store is a folder with the catalogue, one Arrow IPC file a level (bfloat16 bits in a fixed-shape
tensor column) and a manifest. It is built beside its place and moved there whole.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import BFloat16, Int
from torch import Tensor

from drmn.data import catalogue as catalogues
from drmn.data.catalogue import Catalogue
from drmn.data.integrity import digests
from drmn.errors import DataError

ROWS = 256
"""Images in a record batch: large enough to cost nothing, small enough to write in constant
memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureKey:
    """What decides the content of a store."""

    dataset: str
    catalogue: str
    """The digest of the catalogue."""
    backbone: str
    weights: str
    """The digest of the backbone's weights."""
    image_size: int
    preprocess: str
    """How pixels are resized and normalised, in words."""
    levels: tuple[int, ...]
    layout: int = 1
    """Rises when the files of a store change their meaning."""

    @property
    def folder(self) -> str:
        """A readable name that changes whenever the content would."""
        content = json.dumps(asdict(self), sort_keys=True).encode()
        digest = hashlib.sha256(content).hexdigest()[:12]
        return f"{self.dataset}-{self.backbone}-{self.image_size}px-{digest}"


Maps = Mapping[int, Tensor]


def write(root: Path, key: FeatureKey, catalogue: Catalogue, maps: Iterator[Maps]) -> Path:
    """Write a store and return its folder; if another process finished first, theirs is kept.

    Args:
        root: Where stores live.
        key: What names this one.
        catalogue: The images that `maps` follows, in order.
        maps: Batches of float maps [image, region, channel] by stride.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{key.folder}-", dir=root) as scratch:
        building = Path(scratch) / key.folder  # unlike scratch, readable by whom the umask lets
        building.mkdir()
        images = len(catalogue.images)
        shapes = _write_levels(building, maps, images)
        catalogues.write(building, catalogue)
        about = {"key": asdict(key), "images": images, "shapes": shapes}
        manifest = about | {"files": digests(building)}
        (building / "manifest.json").write_text(json.dumps(manifest, indent=1))
        return _publish(building, root / key.folder)


def _write_levels(folder: Path, maps: Iterator[Maps], images: int) -> dict[int, list[int]]:
    shapes: dict[int, list[int]] = {}
    written = 0
    with ExitStack() as files:
        writers: dict[int, pa.ipc.RecordBatchFileWriter] = {}
        for rows in _regrouped(maps):
            for stride, level in rows.items():
                batch = _encode(level)
                if stride not in writers:
                    shapes[stride] = list(level.shape[1:])
                    file = pa.OSFile(str(folder / f"level-{stride}.arrow"), "wb")
                    writers[stride] = files.enter_context(
                        pa.ipc.new_file(files.enter_context(file), batch.schema)
                    )
                writers[stride].write_batch(batch)
            written += len(next(iter(rows.values())))
    if written != images:
        raise ValueError(f"{written} maps for {images} images")
    return shapes


def _regrouped(maps: Iterator[Maps]) -> Iterator[Maps]:
    """Join small batches into record batches of `ROWS` images: a reader finds row i by division."""
    held: list[Maps] = []
    for part in maps:
        held.append(part)
        while sum(len(next(iter(p.values()))) for p in held) >= ROWS:
            whole = {s: torch.cat([p[s] for p in held]) for s in held[0]}
            yield {s: level[:ROWS] for s, level in whole.items()}
            held = [{s: level[ROWS:] for s, level in whole.items()}]
    rest = {s: torch.cat([p[s] for p in held]) for s in held[0]}
    if len(next(iter(rest.values()))):
        yield rest


def _encode(level: Tensor) -> pa.RecordBatch:
    bits = level.to(torch.bfloat16).contiguous().view(torch.int16).numpy().view(np.uint16)
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(bits)
    return pa.record_batch([column], names=["regions"])


def _publish(building: Path, place: Path) -> Path:
    try:
        os.replace(building, place)  # noqa: PTH105 - renames a folder in one step, or not at all
    except OSError:
        if not (place / "manifest.json").is_file():
            raise
    return place


class Level:
    """One level of a store, memory-mapped: rows are read from the page cache when asked for."""

    def __init__(self, path: Path) -> None:
        try:
            file = pa.ipc.open_file(pa.memory_map(str(path)))
            parts = [file.get_batch(i).column(0) for i in range(file.num_record_batches)]
        except (OSError, pa.ArrowInvalid) as problem:
            raise DataError(
                f"{path}: not a whole feature file ({problem}); delete its folder and run "
                "jobs/prepare.py again."
            ) from None
        self._parts = [_decode(part) for part in parts]
        self.shape = (sum(map(len, self._parts)), *self._parts[0].shape[1:])

    def rows(self, indices: Int[Tensor, " image"]) -> BFloat16[Tensor, "image region channel"]:
        """Return a copy of the rows at `indices`."""
        out = torch.empty((len(indices), *self.shape[1:]), dtype=torch.bfloat16)
        for place, row in zip(out, indices.tolist(), strict=True):
            place.copy_(self._parts[row // ROWS][row % ROWS])
        return out


def _decode(column: pa.Array) -> Tensor:
    shape = (len(column), *column.type.shape)
    bits = column.storage.values.to_numpy(zero_copy_only=True).reshape(shape).view(np.int16)
    bits.flags.writeable = False
    import warnings  # noqa: PLC0415

    with warnings.catch_warnings():  # torch has no read-only tensors; nothing here writes
        warnings.simplefilter("ignore")
        return torch.from_numpy(bits).view(torch.bfloat16)


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """An open feature store."""

    folder: Path
    key: FeatureKey
    catalogue: Catalogue
    levels: dict[int, Level]
    """By stride."""


def read(folder: Path) -> Store:
    """Open the store in `folder`.

    Raises:
        DataError: There is none, or it is damaged.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise DataError(f"No feature store at {folder}; make it with jobs/prepare.py.")
    about = json.loads(manifest.read_text())
    key = FeatureKey(**{**about["key"], "levels": tuple(about["key"]["levels"])})
    levels = {stride: Level(folder / f"level-{stride}.arrow") for stride in key.levels}
    for stride, level in levels.items():
        want = (about["images"], *about["shapes"][str(stride)])
        if level.shape != want:
            raise DataError(
                f"{folder}: level {stride} is {level.shape}, its manifest says {want}; delete the "
                "folder and run jobs/prepare.py again."
            )
    return Store(folder, key, catalogues.read(folder), levels)

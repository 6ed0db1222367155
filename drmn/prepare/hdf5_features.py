"""Features from a file of DAZLE, TransZero or MSDN in place of a backbone's."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from drmn.data.images.catalogue import Catalogue, Integers
from drmn.data.readers import hdf5
from drmn.data.store.feature_store import IMPORTED, FeatureKey, Maps
from drmn.data.store.layout import RowRange
from drmn.errors import DataError
from drmn.io import file_digest
from drmn.io.progress import StartProgress
from drmn.level_names import LevelName

STRIDE = 32
"""Stride of the maps in such files: a ResNet's last level."""


class Imported:
    """The trainval rows of a file, as the source of a store.

    Args:
        catalogue: Catalogue of that file.
        file: The file.
        known: Cache of its digest.
        start: Starts the progress of the import.
    """

    shapes: Mapping[LevelName, tuple[int, int]]

    def __init__(self, catalogue: Catalogue, file: Path, known: Path, start: StartProgress) -> None:
        self.file, self.start = file, start
        self.about: dict[str, Any] = {"file": str(file.absolute())}
        with hdf5.opened(file) as content:
            shape = hdf5.dataset(content, hdf5.MAPS).shape
            self.rows = np.sort(hdf5.integers(content, "trainval_loc"))  # the catalogue's order
        _, channels, height, width = (int(count) for count in shape)
        self.shapes = {STRIDE: (height * width, channels)}
        self.key = FeatureKey(
            dataset=catalogue.dataset,
            catalogue=catalogue.digest,
            backbone=IMPORTED,
            weights=file_digest.digest(file, known, start("file, MB")),
            image_size=0,
            preprocess="",
            levels=(STRIDE,),
        )

    def fill(self, spans: list[RowRange]) -> Iterator[tuple[int, Maps]]:
        """Yield the maps of each span."""
        total, done = sum(span.stop - span.start for span in spans), 0
        progress = self.start("features")
        with hdf5.opened(self.file) as content:
            slabs = Slabs(hdf5.dataset(content, hdf5.MAPS))
            for span in spans:
                yield span.shard, {STRIDE: slabs.rows(self.rows[span.start : span.stop])}
                done += span.stop - span.start
                progress(done, total)


class Slabs:
    """Maps of a file, read by the images that its chunks hold and kept until others are needed.

    A chunk of the files that circulate holds 737 images by 128 channels of one region: read image
    by image, each would be unpacked 737 times. A slab of these takes 0.6 GB.
    """

    def __init__(self, maps: h5py.Dataset) -> None:
        self.maps = maps
        _, self.channels, height, width = (int(count) for count in maps.shape)
        self.regions = height * width
        self.size, self.step = (int(c) for c in (maps.chunks or (1, self.channels))[:2])
        self.number, self.slab = -1, torch.empty(0)

    def rows(self, wanted: Integers) -> Tensor:
        """Return the maps [image, region, channel] of the images at `wanted`, in rising order.

        Raises:
            DataError: They cannot be read, or hold NaN or infinity.
        """
        out = torch.empty(len(wanted), self.regions, self.channels, dtype=torch.bfloat16)
        slab_of = wanted // self.size
        for number in np.unique(slab_of).tolist():
            self._load(number)
            here = torch.from_numpy(slab_of == number)
            out[here] = self.slab[torch.from_numpy(wanted)[here] - number * self.size]
        bad = ~out.flatten(1).isfinite().all(dim=1)
        if bad.any():
            row = int(wanted[bad.numpy()][0])
            raise DataError(
                f"{self.maps.file.filename}: {hdf5.MAPS}[{row}] holds NaN or infinity; "
                "make the file again."
            )
        return out

    def _load(self, number: int) -> None:
        if number == self.number:
            return
        start, stop = number * self.size, min((number + 1) * self.size, len(self.maps))
        self.slab = torch.empty(0)  # free the one before
        self.slab = torch.empty(stop - start, self.regions, self.channels, dtype=torch.bfloat16)
        for first in range(0, self.channels, self.step):
            last = min(first + self.step, self.channels)
            part = self._read(start, stop, first, last)
            self.slab[:, :, first:last] = part.flatten(2).transpose(1, 2)
        self.number = number

    def _read(self, start: int, stop: int, first: int, last: int) -> Tensor:
        try:
            part = self.maps[start:stop, first:last]
        except OSError as problem:
            raise DataError(
                f"{self.maps.file.filename}: {hdf5.MAPS}[{start}:{stop}] cannot be read "
                f"({problem}); fetch the file again."
            ) from None
        return torch.from_numpy(np.asarray(part, dtype=np.float32))

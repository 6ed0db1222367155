"""A level of a feature store: one Arrow IPC file, laid out whole first and filled shard by shard.

A shard is a record batch: so many rows of a fixed-shape tensor column, uncompressed, so that a row
is found by arithmetic and read from the page cache. Because the file is laid out before any row is
known, shards may come in any order and from any process, and an interrupted build resumes.
"""

import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from drmn.data.store.encoding import Raw
from drmn.errors import DataError

COLUMN = "regions"


class _Hollow:
    """A file that skips over the rows instead of writing them: they are not known yet."""

    closed = False

    def __init__(self, file: BinaryIO, rows: Raw) -> None:
        self.file = file
        self.rows = range(rows.ctypes.data, rows.ctypes.data + rows.nbytes)

    def write(self, data: bytes | pa.Buffer) -> int:
        if isinstance(data, pa.Buffer) and data.address in self.rows:
            self.file.seek(len(data), os.SEEK_CUR)
        else:
            self.file.write(data)
        return len(data)

    def tell(self) -> int:
        return self.file.tell()

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        """Do nothing: the caller that opened the file closes it."""


def lay_out(
    path: Path, *, rows: int, per_shard: int, shape: Sequence[int], dtype: npt.DTypeLike
) -> None:
    """Write an Arrow IPC file of `rows` rows of zeros that takes hardly any space yet.

    Args:
        path: The file to make.
        rows: How many there will be.
        per_shard: Rows of a record batch; the last may have fewer.
        shape: Shape of a row: regions, channels.
        dtype: Type of its numbers.
    """
    zeros = np.zeros((min(per_shard, rows), *shape), dtype=dtype)
    batch = pa.record_batch([pa.FixedShapeTensorArray.from_numpy_ndarray(zeros)], names=[COLUMN])
    with path.open("wb") as file:
        with pa.ipc.new_file(pa.PythonFile(_Hollow(file, zeros), mode="w"), batch.schema) as writer:
            for start in range(0, rows, per_shard):
                writer.write_batch(batch.slice(0, min(per_shard, rows - start)))
        os.fsync(file.fileno())


class Shards:
    """The shards of a level, mapped into memory; nothing is read before it is asked for.

    Raises:
        DataError: The file is missing or not whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                mapped = pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            self.offsets, self.parts = _mapped(mapped)
            self._whole = _whole(mapped, self.offsets, self.parts)
        except (OSError, ValueError) as problem:  # ValueError: it is empty, or no Arrow file
            raise DataError(
                f"{path}: not a whole feature file ({problem}); run jobs/prepare.py again."
            ) from None

    @property
    def shape(self) -> tuple[int, ...]:
        """Return rows, regions, channels."""
        return (sum(map(len, self.parts)), *self.parts[0].shape[1:])

    def digest(self, shard: int) -> str:
        """Return the checksum of a shard."""
        return digest(self.parts[shard])

    def rows(self, wanted: npt.NDArray[np.int64]) -> Raw:
        """Return a copy of the rows at `wanted`: in one call, since shards lie at equal distances.

        Those of a last shard that is not full are put in after it.
        """
        shard, place = np.divmod(wanted, len(self.parts[0]))
        last = shard >= len(self._whole)
        out: Raw = self._whole[np.where(last, 0, shard), np.where(last, 0, place)]
        if last.any():
            out[last] = self.parts[-1][place[last]]
        return out

    def fetch(self, shards: Iterable[int]) -> None:
        """Have the system read shards ahead, whole: page by page a disk is half as fast."""
        if not hasattr(os, "posix_fadvise"):
            return
        with self.path.open("rb") as file:
            for shard in shards:
                start, size = self.offsets[shard], self.parts[shard].nbytes
                os.posix_fadvise(file.fileno(), start, size, os.POSIX_FADV_WILLNEED)

    def differing(self, digests: Sequence[str], checked: Callable[[int], None]) -> list[int]:
        """Return the shards that differ from `digests`; reads every byte, and reports progress."""
        wrong = []
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing lets other threads run
            now = pool.map(self.digest, range(len(self.parts)))
            for i, (is_, was) in enumerate(zip(now, digests, strict=True)):
                wrong += [i] * (is_ != was)
                checked(i + 1)
        return wrong


def digest(rows: Raw) -> str:
    """Return a checksum of the rows of a shard: XXH3, 128 bits.

    It finds accidents, not forgeries (a forger of rows would forge the manifest too), fast enough
    for a check at every first read: ten times as fast as SHA-256.
    """
    return xxhash.xxh3_128_hexdigest(rows.data)


def _mapped(buffer: pa.Buffer) -> tuple[list[int], list[Raw]]:
    """Return the offset of each shard's rows, and the rows.

    Arrow reads the first, the second and the last shard, and has the system read them ahead; the
    others are at equal distances.
    """
    table = pa.ipc.open_file(pa.BufferReader(buffer))
    count = table.num_record_batches
    places = {i: _numbers(table.get_batch(i)) for i in sorted({0, min(1, count - 1), count - 1})}
    first, second, last = (places[i] for i in (0, min(1, count - 1), count - 1))
    start, step = first.ctypes.data - buffer.address, second.ctypes.data - first.ctypes.data
    offsets = [start + i * step for i in range(count)]
    if offsets[-1] != last.ctypes.data - buffer.address:
        raise ValueError("its record batches are not of one size")
    bounds = [*[first.shape] * (count - 1), last.shape]
    parts: list[Raw] = [
        np.ndarray(shape, first.dtype, buffer, offset)
        for shape, offset in zip(bounds, offsets, strict=True)
    ]
    return offsets, parts


def _whole(buffer: pa.Buffer, offsets: list[int], parts: list[Raw]) -> Raw:
    """Return the full shards as one array [shard, row, region, channel]."""
    first, count = parts[0], len(parts) - (len(parts[-1]) < len(parts[0]))
    step = offsets[1] - offsets[0] if len(offsets) > 1 else 0
    shape, strides = (count, *first.shape), (step, *first.strides)
    return np.ndarray(shape, first.dtype, buffer, offsets[0], strides)


def _numbers(batch: pa.RecordBatch) -> Raw:
    column = batch.column(COLUMN)
    flat: npt.NDArray[Any] = column.storage.values.to_numpy(zero_copy_only=True)
    return flat.reshape(len(column), *column.type.shape)

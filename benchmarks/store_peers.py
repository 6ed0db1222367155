"""Ways of holding the maps of a feature store, beside ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from random_store import SHAPE
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from drmn.data.store import feature_store

Read = Callable[[Tensor], Tensor]
WAYS = ("ours", "numpy.memmap", "safetensors", "LMDB", "Parquet")


def write_peers(root: Path, place: Path) -> dict[str, Path]:
    """Write the bytes of a store as its peers hold them; return the file of each way."""
    level = feature_store.read(place).levels[32]
    count = level.shape[0]
    bits = np.lib.format.open_memmap(
        root / "maps.npy", mode="w+", dtype=np.uint16, shape=(count, *SHAPE)
    )
    environment = lmdb.open(str(root / "lmdb"), map_size=2 * bits.nbytes + (64 << 20))
    column = pa.schema([("maps", pa.list_(pa.uint16(), SHAPE[0] * SHAPE[1]))])
    with pq.ParquetWriter(root / "maps.parquet", column, compression="none") as parquet:
        for rows in torch.arange(count).split(64):
            part = level.rows(rows).view(torch.int16).numpy().view(np.uint16)
            bits[rows[0] : rows[-1] + 1] = part
            with environment.begin(write=True) as put:
                for row, values in zip(rows.tolist(), part, strict=True):
                    put.put(row.to_bytes(4, "big"), values.tobytes())
            flat = pa.FixedSizeListArray.from_arrays(part.ravel(), SHAPE[0] * SHAPE[1])
            parquet.write_batch(pa.record_batch([flat], schema=column))
    bits.flush()
    environment.close()
    tensor = torch.from_numpy(np.asarray(bits).view(np.int16)).view(torch.bfloat16)
    save_file({"maps": tensor}, root / "maps.safetensors")
    files = (place, *(root / f"maps.{kind}" for kind in ("npy", "safetensors")))
    return dict(zip(WAYS, (*files, root / "lmdb", root / "maps.parquet"), strict=True))


def reader(way: str, file: Path) -> Read:
    """Return what reads rows out of a file."""
    if way == "ours":
        return feature_store.read(file).levels[32].rows
    if way == "numpy.memmap":
        mapped = np.load(file, mmap_mode="r")
        return lambda rows: _bf16(mapped[rows.numpy()])
    if way == "safetensors":
        safe = safe_open(file, framework="pt").get_tensor("maps")
        return lambda rows: safe[rows]
    if way == "LMDB":
        environment = lmdb.open(str(file), readonly=True, lock=False)
        return lambda rows: _from_lmdb(environment, rows)
    table = pq.ParquetFile(file)
    return lambda rows: _from_parquet(table, rows)


def _bf16(bits: Any) -> Tensor:
    return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)


def _from_lmdb(environment: Any, rows: Tensor) -> Tensor:
    out = np.empty((len(rows), *SHAPE), dtype=np.uint16)
    with environment.begin(buffers=True) as get:
        for i, row in enumerate(rows.tolist()):
            out[i] = np.frombuffer(get.get(row.to_bytes(4, "big")), np.uint16).reshape(SHAPE)
    return _bf16(out)


def _from_parquet(table: Any, rows: Tensor) -> Tensor:
    out = np.empty((len(rows), *SHAPE), dtype=np.uint16)
    for i, row in enumerate(rows.tolist()):
        group = table.read_row_group(row // 64)["maps"].combine_chunks()
        out[i] = group.slice(row % 64, 1).flatten().to_numpy().reshape(SHAPE)
    return _bf16(out)

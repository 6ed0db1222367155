"""Reading a level of a feature store: rows out of the page cache, each shard compared once."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drmn.data.store.encoding import Form
from drmn.data.store.shards import Shards
from drmn.errors import DataError

_SEEN: dict[tuple[object, ...], set[int]] = {}
"""Shards that this process has not compared yet, by file: each trial reopens its store."""


def _unchecked(path: Path, digests: Sequence[str]) -> set[int]:
    stat = path.stat()
    key = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, *digests)
    return _SEEN.setdefault(key, set(range(len(digests))))


class Level:
    """One level of a store: rows are read from the page cache when asked for.

    The first time that a process reads from a shard, the shard is compared with its checksum.

    Args:
        path: The level's file.
        digests: Digest of each shard.
        form: Encoding of the rows.
        lease: Kept as long as the level is: it marks the store as in use.
    """

    def __init__(
        self, path: Path, digests: Sequence[str], form: Form, lease: object = None
    ) -> None:
        self._lease = lease
        self._shards = Shards(path)
        self._digests = digests
        self._form = form
        self._unchecked = _unchecked(path, digests)
        self.shape = self._shards.shape
        self.per_shard = len(self._shards.parts[0])

    def rows(self, indices: Int[Tensor, " image"]) -> Float[Tensor, "image region channel"]:
        """Return a copy of the rows at `indices`: bfloat16, or float32 where bytes are stored."""
        wanted = indices.numpy()
        if self._unchecked:
            self._check(set((wanted // self.per_shard).tolist()))
        return self._form.decode(self._shards.rows(wanted))

    def shard(self, number: int) -> Float[Tensor, "image region channel"]:
        """Return the rows of a shard without copying them, where the form allows it.

        Read-only: writing to them ends the process.
        """
        self._check({number})
        with warnings.catch_warnings():  # torch has no read-only tensors
            warnings.simplefilter("ignore")
            return self._form.decode(self._shards.parts[number])

    def pools(
        self, count: int
    ) -> tuple[Float[Tensor, "image channel"], Float[Tensor, "image channel"]]:
        """Return mean and maximum over the regions of the first `count` rows.

        Goes through the file in order.
        """
        shards = (self.shard(i).float() for i in range(-(-count // self.per_shard)))
        means, maxima = zip(*((s.mean(dim=1), s.amax(dim=1)) for s in shards), strict=True)
        return torch.cat(means)[:count], torch.cat(maxima)[:count]

    def _check(self, shards: set[int]) -> None:
        new = sorted(shards & self._unchecked)
        if new:
            self._shards.fetch(new)
        for shard in new:
            if self._shards.digest(shard) != self._digests[shard]:
                raise DataError(
                    f"{self._shards.path}: shard {shard} of {len(self._digests)} is not as it was "
                    "written; run jobs/prepare.py (or the search) again, which makes it anew."
                )
            self._unchecked.discard(shard)

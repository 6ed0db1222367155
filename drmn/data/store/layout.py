"""Layout of a feature store: its content, and its division into shards."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from drmn.data.images.catalogue import Catalogue
from drmn.data.store.encoding import BFloat16, Form
from drmn.data.store.feature_store import FeatureKey, Maps
from drmn.level_names import LevelName

SHARD_BYTES = 32 << 20
"""Bytes of a shard, all levels together: small enough to check at the first read, large enough to
write fast."""


@dataclass(frozen=True, slots=True)
class RowRange:
    """The rows of a shard."""

    shard: int
    start: int
    stop: int


Fill = Callable[[list[RowRange]], Iterator[tuple[int, Maps]]]
"""Yields the maps of the spans asked for, with their shards' numbers, in any order."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoreLayout:
    """A store to build."""

    key: FeatureKey
    catalogue: Catalogue
    shapes: Mapping[LevelName, tuple[int, int]]
    """Regions and channels of each level by stride."""
    forms: Mapping[LevelName, Form] = field(default_factory=dict)
    """Encoding of each level; bfloat16 by default."""
    components: Mapping[str, Tensor] = field(default_factory=dict)
    """Mean and basis of a PCA, which project the backbone's channels to those stored."""

    def form(self, stride: LevelName) -> Form:
        """Return the encoding of a level."""
        return self.forms.get(stride, BFloat16())

    @property
    def rows(self) -> int:
        """Return the rows of each level: every view of every image."""
        return len(self.catalogue.images) * (1 + self.key.views)

    @property
    def row_bytes(self) -> int:
        """Return the bytes of a row in all levels together."""
        return sum(
            regions * channels * np.dtype(self.form(stride).dtype).itemsize
            for stride, (regions, channels) in self.shapes.items()
        )

    @property
    def per_shard(self) -> int:
        """Return the rows of a shard."""
        return max(1, min(1024, SHARD_BYTES // self.row_bytes))

    def spans(self) -> list[RowRange]:
        """Return all shards."""
        size, rows = self.per_shard, self.rows
        return [RowRange(i // size, i, min(i + size, rows)) for i in range(0, rows, size)]

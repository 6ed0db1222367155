"""Extraction over the nodes and GPUs of a Ray cluster, by Ray Data.

Each worker runs a shard's images through the backbone; this process alone writes the store. The
workers open the images by the paths of this process: they have to be on shared storage.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import ray
import ray.data
import torch

from drmn.cluster.connect import trial_slots
from drmn.cluster.resources import ResourceConfig
from drmn.data.images import decode
from drmn.data.images.decode import Photo
from drmn.data.store.feature_store import Maps
from drmn.data.store.layout import RowRange
from drmn.errors import DataError
from drmn.io.progress import Progress
from drmn.level_names import LevelName
from drmn.malloc import keep_memory
from drmn.model import autotune
from drmn.model.backbone import Backbone
from drmn.model.extraction import device, extract, ordered_photos
from drmn.prepare.features import Spread

Row = dict[str, Any]


class Extractor:
    """A worker: holds a backbone, and turns the number of a shard into its maps."""

    def __init__(self, backbone: Any, photos: Any, share: int, rows: int) -> None:
        self.backbone, self.photos, self.share = ray.get(backbone), ray.get(photos), share
        self.batch = autotune.batch_of(self.backbone, rows)
        self.chosen: autotune.ChosenMode | None = None

    def __call__(self, row: Row) -> Row:
        """Return the bytes of each level, or the error of an image."""
        span = RowRange(row["shard"], row["start"], row["stop"])
        try:
            self.chosen = self.chosen or self._choose(span)
            made = extract(
                self.photos, [span], self.backbone.preprocess, self.chosen.run, batch=self.batch
            )
            ((_, maps),) = list(made)
        except DataError as mistake:
            return {"shard": span.shard, "problem": str(mistake), "bits": [], "way": ""}
        levels = [maps[stride].to(torch.bfloat16) for stride in self.backbone.levels]
        bits = [level.contiguous().view(torch.int16).numpy().tobytes() for level in levels]
        way = str(self.chosen.way)
        return {"shard": span.shard, "problem": "", "bits": bits, "way": way}

    def _choose(self, span: RowRange) -> autotune.ChosenMode:
        keep_memory()
        first = ordered_photos(self.photos, span)[: self.batch]
        (pixels,) = decode.stream([first], self.backbone.preprocess)
        return autotune.autotune_backbone(self.backbone, pixels, self.share, device())


def over_cluster(workers: int, gpus: float) -> Spread:
    """Return an extraction by so many Ray workers, each with so much of a GPU.

    Args:
        workers: Number of workers; 0 for as many as the cluster's GPUs or cores hold.
        gpus: GPUs of each worker.
    """

    def spread(
        backbone: Backbone,
        photos: Sequence[Photo],
        spans: list[RowRange],
        about: dict[str, Any],
        progress: Progress,
    ) -> Iterator[tuple[int, Maps]]:
        count = min(trial_slots(ResourceConfig(gpus=gpus), workers), len(spans))
        shapes, total = backbone.shapes(), sum(s.stop - s.start for s in spans)
        share, rows_each = -(-total // count), spans[0].stop - spans[0].start
        rows = _shards(spans).map(
            Extractor,
            fn_constructor_args=(ray.put(backbone.cpu()), ray.put(list(photos)), share, rows_each),
            compute=ray.data.ActorPoolStrategy(size=count),
            num_cpus=1,
            num_gpus=gpus,
        )
        done, sizes = 0, {s.shard: s.stop - s.start for s in spans}
        ways = set()  # nodes of different kinds choose differently
        # Closed before Ray shuts down: its executor would end this process and hide the error.
        stream: Any = iter(rows.iter_rows())
        with closing(stream):
            for row in stream:
                if row["problem"]:
                    raise DataError(row["problem"])
                done += sizes[row["shard"]]
                progress(done, total)
                ways.add(row["way"])
                about["way"] = ", ".join(sorted(ways))
                yield row["shard"], _maps(row["bits"], shapes)

    return spread


def _shards(spans: Sequence[RowRange]) -> ray.data.Dataset:
    """Return a row a shard, each a block: workers take one at a time."""
    rows = [{"shard": s.shard, "start": s.start, "stop": s.stop} for s in spans]
    return ray.data.from_items(rows, override_num_blocks=len(spans))


def _maps(
    bits: Sequence[bytes], shapes: dict[LevelName, tuple[int, int]]
) -> dict[LevelName, torch.Tensor]:
    return {
        stride: torch.frombuffer(bytearray(data), dtype=torch.bfloat16).reshape(-1, *shape)
        for data, (stride, shape) in zip(bits, shapes.items(), strict=True)
    }

"""Compact stores: bytes with a scale for each channel, or principal components.

Both are fitted on the training images of one fold, and on nothing else: fitted on images of the
classes that validation treats as unseen, they would leak these.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from drmn.data.feature_config import FeatureConfig
from drmn.data.splits import development
from drmn.data.splits.development import Split
from drmn.data.store import build, encoding, feature_store, integrity
from drmn.data.store.encoding import Form
from drmn.data.store.feature_store import FeatureKey, Maps, Store
from drmn.data.store.layout import RowRange, StoreLayout
from drmn.io.progress import StartProgress
from drmn.level_names import LevelName
from drmn.model.backbone import components

READ_BATCH = 64
REGIONS = 400_000
"""Maximum number of regions for fitting components: enough for a covariance of 2,048 channels."""


def key_of(whole: FeatureKey, config: FeatureConfig, fold: int) -> FeatureKey:
    """Return the key of the compact form of a whole store."""
    share = config.pca_share if config.encoding == "pca" else 0.0
    return replace(whole, encoding=config.encoding, components=share, fold=fold)


def prepare(
    key: FeatureKey,
    root: Path,
    whole: Callable[[], Path],
    start: StartProgress,
    waiting: Callable[[str], None],
) -> Path:
    """Return the compact store of `key`, made from the whole one if it is missing or damaged.

    The whole store is not needed afterwards.
    """
    place = root / key.folder
    if place.is_dir() and not integrity.check(place, start("checking")).damage:
        return place
    source = feature_store.read(whole())
    train = development.open_store(source.folder, fold=key.fold).train
    plan = _plan(key, source, train)
    progress = start("compacting")

    def fill(spans: list[RowRange]) -> Iterator[tuple[int, Maps]]:
        for done, span in enumerate(spans, start=1):
            rows = torch.arange(span.start, span.stop)
            maps = {s: level.rows(rows).float() for s, level in source.levels.items()}
            yield span.shard, {s: _projected(m, s, plan) for s, m in maps.items()}
            progress(done, len(spans))

    return build.build(root, plan, fill, about={"from": source.folder.name}, waiting=waiting)


def _plan(key: FeatureKey, source: Store, train: Split) -> StoreLayout:
    shapes = {s: (level.shape[1], level.shape[2]) for s, level in source.levels.items()}
    if key.encoding == "int8":
        scales: dict[LevelName, Form] = {s: _scale(train, s) for s in shapes}
        return StoreLayout(key=key, catalogue=source.catalogue, shapes=shapes, forms=scales)
    parts: dict[str, Tensor] = {}
    for stride, (_, channels) in shapes.items():
        mean, basis = principal(train, stride, components(channels, key.components))
        parts |= {f"{stride}.mean": mean, f"{stride}.basis": basis}
    kept = {s: (regions, parts[f"{s}.basis"].shape[1]) for s, (regions, _) in shapes.items()}
    return StoreLayout(key=key, catalogue=source.catalogue, shapes=kept, components=parts)


def _projected(maps: Tensor, stride: LevelName, plan: StoreLayout) -> Tensor:
    if not plan.components:
        return maps
    return (maps - plan.components[f"{stride}.mean"]) @ plan.components[f"{stride}.basis"]


def _scale(train: Split, stride: LevelName) -> Form:
    low, high = extremes(train, stride)
    return encoding.bytes_for(low, high)


def extremes(split: Split, stride: LevelName) -> tuple[Tensor, Tensor]:
    """Return the least and the largest value [channel] of a level.

    Raises:
        DataError: These are not training images.
    """
    split.require("train", "fitting the range of features")
    lows, highs = [], []
    for rows in split.rows.split(READ_BATCH):
        maps = split.levels[stride].rows(rows).float()
        lows.append(maps.amin(dim=(0, 1)))
        highs.append(maps.amax(dim=(0, 1)))
    return torch.stack(lows).amin(dim=0), torch.stack(highs).amax(dim=0)


def principal(split: Split, stride: LevelName, kept: int) -> tuple[Tensor, Tensor]:
    """Return the mean [channel] and the first `kept` principal axes [channel, kept] of a level.

    Raises:
        DataError: These are not training images.
    """
    split.require("train", "fitting principal components")
    level = split.levels[stride]
    step = max(1, len(split) * level.shape[1] // REGIONS)
    count, total = 0, torch.zeros(level.shape[2], dtype=torch.double)
    moments = torch.zeros(level.shape[2], level.shape[2], dtype=torch.double)
    for rows in split.rows.split(READ_BATCH):
        regions = level.rows(rows).flatten(0, 1)[::step].double()
        count, total = count + len(regions), total + regions.sum(dim=0)
        moments += regions.T @ regions
    mean = total / count
    _, axes = torch.linalg.eigh(moments / count - mean.outer(mean))  # in rising order
    return mean.float(), axes.flip(-1)[:, :kept].float().contiguous()

"""From a catalogue's images to maps, shard by shard; and back from a store to its backbone."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from drmn.data.feature_config import FeatureConfig
from drmn.data.images import decode
from drmn.data.images.catalogue import Catalogue
from drmn.data.images.decode import Photo
from drmn.data.store import feature_store
from drmn.data.store.feature_store import COMPONENTS, FeatureKey, Maps
from drmn.data.store.layout import RowRange
from drmn.errors import ConfigError
from drmn.io.progress import Progress
from drmn.level_names import join
from drmn.model.autotune import Run
from drmn.model.backbone import Backbone


def feature_key(catalogue: Catalogue, config: FeatureConfig, backbone: Backbone) -> FeatureKey:
    """Return the key of the store of whole features (bfloat16, nothing fitted)."""
    return FeatureKey(
        dataset=catalogue.dataset,
        catalogue=catalogue.digest,
        backbone=config.backbone,
        weights=backbone.digest,
        image_size=backbone.preprocess.size,
        preprocess=str(backbone.preprocess),
        levels=backbone.levels,
        maps=config.maps,
        views=config.views,
    )


def ordered_photos(photos: Sequence[Photo], span: RowRange) -> list[Photo]:
    """Return the views that the rows of a shard hold."""
    rows = (divmod(row, len(photos)) for row in range(span.start, span.stop))
    return [replace(photos[i], view=view) for view, i in rows]


def extract(
    photos: Sequence[Photo],
    spans: Sequence[RowRange],
    preprocess: decode.Preprocess,
    run: Run,
    *,
    batch: int,
    progress: Progress = lambda *_: None,
) -> Iterator[tuple[int, Maps]]:
    """Yield each shard's number and maps, made in batches of at most `batch` images."""
    jobs = [
        (span, rows[start : start + batch])
        for span in spans
        for rows in [ordered_photos(photos, span)]
        for start in range(0, len(rows), batch)
    ]
    total, done = sum(len(part) for _, part in jobs), 0
    held: list[Maps] = []
    stream = decode.stream([part for _, part in jobs], preprocess)
    for (span, _), pixels in zip(jobs, stream, strict=True):
        held.append(run(pixels))
        done += len(pixels)
        progress(done, total)
        if sum(len(next(iter(maps.values()))) for maps in held) == span.stop - span.start:
            yield span.shard, {s: torch.cat([maps[s] for maps in held]) for s in held[0]}
            held = []


def device() -> torch.device:
    """Return the device to extract on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def keep_weights(root: Path, digest: str, backbone: Backbone) -> None:
    """Save the weights beside the stores made with them: a model is packed with the same ones."""
    path = weights_file(root, digest)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        building = path.with_suffix(f".{os.getpid()}")
        save_file({k: v.contiguous() for k, v in backbone.body.state_dict().items()}, building)
        building.replace(path)


def weights_file(root: Path, digest: str) -> Path:
    """Return the file of the backbone weights of that digest."""
    return root / f"weights-{digest}.safetensors"


def backbone_of(store: Path) -> tuple[Backbone, FeatureConfig]:
    """Return the backbone that a store was made with, its principal components included.

    Raises:
        ConfigError: There is none: the features came from a file.
    """
    key = feature_store.key_of(feature_store.manifest_of(store))
    if key.backbone == feature_store.IMPORTED:
        raise ConfigError(f"{store}: its features came from a file; there is no backbone.")
    config = FeatureConfig(
        backbone=key.backbone,
        weights=str(weights_file(store.parent, key.weights)),
        image_size=key.image_size,
        levels=join(key.levels),
        maps=key.maps,
        encoding=key.encoding,
        pca_share=key.components or FeatureConfig().pca_share,
    )
    backbone = Backbone(config)
    if key.encoding == "pca":
        parts: dict[str, Any] = load_file(store / COMPONENTS)
        backbone.reduction.load_state_dict(parts)
    return backbone, config

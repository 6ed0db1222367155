"""From a catalogue to a feature store: images through the backbone, once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from drmn.config import FeatureConfig
from drmn.data import features, images
from drmn.data.catalogue import Catalogue
from drmn.data.features import FeatureKey, Maps
from drmn.model.backbone import Backbone

BATCH = 32

Progress = Callable[[int, int], None]
"""Told how many images are done, of how many."""


def prepare(
    catalogue: Catalogue, config: FeatureConfig, root: Path, progress: Progress = lambda *_: None
) -> Path:
    """Return the folder of the store for `catalogue`, extracting its features if there is none."""
    backbone = Backbone(config)
    key = FeatureKey(
        dataset=catalogue.dataset,
        catalogue=catalogue.digest,
        backbone=config.backbone,
        weights=backbone.digest,
        image_size=config.image_size,
        levels=backbone.strides,
    )
    place = root / key.folder
    if (place / "manifest.json").is_file():
        return place
    return features.write(root, key, catalogue, _maps(catalogue, backbone, progress))


def _maps(catalogue: Catalogue, backbone: Backbone, progress: Progress) -> Iterator[Maps]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone.to(device)
    paths = [catalogue.root / path for path in catalogue.images]
    done = 0
    for pixels in images.stream(paths, backbone.preprocess, batch=BATCH):
        yield {stride: level.cpu() for stride, level in backbone(pixels.to(device)).items()}
        done += len(pixels)
        progress(done, len(paths))

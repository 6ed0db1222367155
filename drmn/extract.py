"""From a dataset's files to a feature store: images through the backbone, once."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from drmn.config import FeatureConfig
from drmn.data import demo, features, images, own, specs, xlsa17
from drmn.data.catalogue import Catalogue
from drmn.data.features import FeatureKey, Maps
from drmn.data.integrity import damaged
from drmn.model.backbone import Backbone

BATCH = 32

Progress = Callable[[int, int], None]
"""Told how many images are done, of how many."""


def open_catalogue(dataset: str, root: Path) -> Catalogue:
    """Return the development catalogue of a dataset; the demo is drawn into `root` first."""
    spec = specs.spec(dataset)
    if spec.name == specs.OWN.name:
        return own.read(root, spec.name)
    if spec.name == specs.DEMO.name:
        demo.render(root)
    return xlsa17.read(root, spec)


def prepare(
    catalogue: Catalogue, config: FeatureConfig, root: Path, progress: Progress = lambda *_: None
) -> Path:
    """Return the folder of the store for `catalogue`, extracting its features if there is none."""
    size = config.image_size or specs.spec(catalogue.dataset).image_size
    config = replace(config, image_size=size)
    backbone = Backbone(config)
    key = FeatureKey(
        dataset=catalogue.dataset,
        catalogue=catalogue.digest,
        backbone=config.backbone,
        weights=backbone.digest,
        image_size=config.image_size,
        preprocess=str(backbone.preprocess),
        levels=backbone.strides,
    )
    _keep_weights(weights_file(root, key.weights), backbone)
    place = root / key.folder
    if place.is_dir():
        if not damaged(place):
            return place
        shutil.rmtree(place)  # its name says what it must hold, so it is made again
    return features.write(root, key, catalogue, _maps(catalogue, backbone, progress))


def without_bad(catalogue: Catalogue, root: Path) -> Catalogue:
    """Return the catalogue without the images that cannot be read, and a note if there are any.

    Each image is decoded once; which are bad is kept in `root` for this very catalogue.
    """
    known = root / f"unreadable-{catalogue.digest}.json"
    if not known.is_file():
        root.mkdir(parents=True, exist_ok=True)
        building = known.with_suffix(f".{os.getpid()}")
        building.write_text(json.dumps(images.unreadable(catalogue.root, catalogue.images)))
        building.replace(known)
    bad = json.loads(known.read_text())
    if not bad:
        return catalogue
    note = f"{len(bad)} images cannot be read and are skipped, such as {bad[0]}."
    return replace(catalogue.without(set(bad)), notes=(*catalogue.notes, note))


def _keep_weights(path: Path, backbone: Backbone) -> None:
    """Put the weights beside the stores made with them: a model is packed with the very same."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        building = path.with_suffix(f".{os.getpid()}")
        state = {k: v.contiguous() for k, v in backbone.body.state_dict().items()}
        save_file(state, building)
        building.replace(path)


def weights_file(root: Path, digest: str) -> Path:
    """Return where the backbone weights of that digest are kept."""
    return root / f"weights-{digest}.safetensors"


def backbone_of(store: Path) -> tuple[Backbone, FeatureConfig]:
    """Return the backbone that a store was made with."""
    key = features.read(store).key
    config = FeatureConfig(
        backbone=key.backbone,
        weights=str(weights_file(store.parent, key.weights)),
        image_size=key.image_size,
        levels="+".join(map(str, key.levels)),
    )
    return Backbone(config), config


def _maps(catalogue: Catalogue, backbone: Backbone, progress: Progress) -> Iterator[Maps]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone.to(device)
    paths = [catalogue.root / path for path in catalogue.images]
    done = 0
    for pixels in images.stream(paths, backbone.preprocess, batch=BATCH):
        yield {stride: level.cpu() for stride, level in backbone(pixels.to(device)).items()}
        done += len(pixels)
        progress(done, len(paths))

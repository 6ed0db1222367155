"""A trained network with all that it needs to classify a photo, as a folder.

The folder holds `about.json` (settings, classes, how they are scored, preprocessing) and
`model.safetensors` (backbone, network, class attributes). Nothing in it is unpickled.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from drmn.config import FeatureConfig, RunConfig, flatten, with_overrides
from drmn.data.development import Classes
from drmn.ensemble import Rule
from drmn.model.backbone import Backbone
from drmn.model.network import DRMN, hyperspherical


@dataclass(frozen=True, slots=True)
class Answer:
    """What the network says of some photos."""

    scores: Tensor
    """[image, class]: calibrated, so the largest is the prediction."""
    attributes: Tensor
    """[image, attr]."""


class Package:
    """A trained network, ready for photos.

    Args:
        backbone: The frozen feature extractor.
        network: The trained DRMN.
        run: The settings it was trained with.
        classes: The candidates.
        rule: How the classes are scored.
    """

    def __init__(
        self,
        backbone: Backbone,
        network: DRMN,
        run: RunConfig,
        classes: Classes,
        rule: Rule,
    ) -> None:
        self.backbone, self.network, self.run = backbone.eval(), network.eval(), run
        self.classes, self.rule = classes, rule

    def classify(self, photos: Sequence[bytes]) -> Answer:
        """Classify image files given by their bytes."""
        transform = self.backbone.preprocess.transform()
        pixels = [transform(_decode(photo)) for photo in photos]
        return self.answer(self.backbone(torch.stack(pixels)))

    @torch.inference_mode()
    def answer(self, maps: Mapping[int, Tensor]) -> Answer:
        """Classify feature maps."""
        scores = self.network(maps)
        logits = hyperspherical(scores.attributes, self.classes.attributes, self.run.model.scale)
        calibrated = self.rule.scores(logits, scores.globally, self.classes.seen)
        return Answer(calibrated, scores.attributes)


def _decode(photo: bytes) -> Tensor:
    return decode_image(
        torch.frombuffer(bytearray(photo), dtype=torch.uint8), mode=ImageReadMode.RGB
    )


def save(folder: Path, package: Package, features: FeatureConfig) -> None:
    """Write `package` into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"backbone.{k}": v for k, v in package.backbone.state_dict().items()}
    tensors |= {f"network.{k}": v for k, v in package.network.state_dict().items()}
    tensors["attributes"] = package.classes.attributes
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    about = {
        "features": asdict(features),
        "settings": flatten(package.run),
        "classes": package.classes.names,
        "seen": package.classes.seen.tolist(),
        "attribute_names": package.classes.attribute_names,
        "channels": {str(s): package.backbone.channels[s] for s in package.backbone.strides},
        "rule": asdict(package.rule),
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1))


def load(folder: Path) -> Package:
    """Return the package that was saved in `folder`."""
    about: dict[str, Any] = json.loads((folder / "about.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    features = FeatureConfig(**{**about["features"], "weights": "random"})
    backbone = Backbone(features)
    backbone.load_state_dict(_below(tensors, "backbone."))
    run = with_overrides(RunConfig(), {**about["settings"], "model.prototypes": "normal"})
    classes = Classes(
        names=tuple(about["classes"]),
        attributes=tensors["attributes"],
        seen=torch.tensor(about["seen"]),
        attribute_names=tuple(about["attribute_names"]),
    )
    channels = {int(stride): count for stride, count in about["channels"].items()}
    count, seen = classes.attributes.shape[1], int(classes.seen.sum())
    network = DRMN(run.model, channels, attributes=count, seen=seen)
    network.load_state_dict(_below(tensors, "network."))
    return Package(backbone, network, run, classes, Rule(**about["rule"]))


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

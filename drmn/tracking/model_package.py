"""A trained network with all that it needs to classify a photo, as a folder.

The folder holds `about.json` (settings, classes, how they are scored, preprocessing),
`model.safetensors` (network, class attributes) and, unless it shares that of its study,
`backbone.safetensors`. Nothing in it is unpickled.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from drmn.config import RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.data.images.decode import Preprocess
from drmn.data.images.pixels import UnreadableError, decode_bytes
from drmn.data.splits.development import Classes
from drmn.errors import DataError, last_line
from drmn.evaluation.ensemble import Rule
from drmn.fields import flatten, with_overrides
from drmn.level_names import LevelName, level_of
from drmn.model.backbone import Backbone
from drmn.model.network import DRMN, hyperspherical
from drmn.tracking.package_files import BACKBONE_FILE, METADATA_FILE, WEIGHTS_FILE, sha256_of

AGAIN = "the command of its study packs it again"


@dataclass(frozen=True, slots=True)
class Answer:
    """The network's predictions for some photos."""

    classes: Classes
    """The candidates."""
    scores: Float[Tensor, "image class"]
    """Calibrated, so the largest is the prediction."""
    probabilities: Float[Tensor, "image class"]
    """Probabilities before seen classes are held back."""
    attributes: Float[Tensor, "image attr"]
    """Attribute scores at unit length, as class attributes are."""

    def shares(self) -> Float[Tensor, "image attr"]:
        """Return the contribution of each attribute to the predicted class's cosine."""
        return self.attributes * self.classes.attributes[self.scores.argmax(dim=1)]


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

    def classify(self, photos: Sequence[bytes], classes: Classes | None = None) -> Answer:
        """Classify image files, given by their bytes, among `classes` or its own.

        Raises:
            DataError: One cannot be decoded; says which and why.
        """
        return self.answer(self.maps(photos), classes)

    def maps(self, photos: Sequence[bytes]) -> Mapping[LevelName, Tensor]:
        """Return the backbone's maps of image files given by their bytes.

        Raises:
            DataError: One cannot be decoded; says which and why.
        """
        with torch.inference_mode():
            return self.backbone(decoded(photos, self.backbone.preprocess))

    @torch.inference_mode()
    def answer(self, maps: Mapping[LevelName, Tensor], classes: Classes | None = None) -> Answer:
        """Classify feature maps, among `classes` (`with_classes`) or its own."""
        among = self.classes if classes is None else classes
        scores = self.network(maps)
        logits = hyperspherical(scores.attributes, among.attributes, self.run.model.scale)
        said = (logits, scores.global_logits, among.seen)
        return Answer(
            among,
            self.rule.scores(*said),
            self.rule.probabilities(*said),
            F.normalize(scores.attributes, dim=-1),
        )

    def attention(
        self, maps: Mapping[LevelName, Tensor]
    ) -> Float[Tensor, "image attr side side"] | None:
        """Return where each attribute looks, or None without dual attention."""
        looks = self.network.attention(maps)
        if looks is None:
            return None
        side = math.isqrt(looks.shape[-1])
        return looks.unflatten(2, (side, side))


def decoded(photos: Sequence[bytes], preprocess: Preprocess) -> Float[Tensor, "image 3 size size"]:
    """Return a backbone's input for image files, given by their bytes.

    Raises:
        DataError: One cannot be decoded; says which and why.
    """
    transform = preprocess.transform()
    return torch.stack([transform(_decode(photo, place)) for place, photo in enumerate(photos)])


def _decode(photo: bytes, place: int) -> Tensor:
    try:
        return decode_bytes(photo)
    except UnreadableError as problem:
        raise DataError(
            f"image {place}: not a readable image ({problem}); {problem.remedy}."
        ) from None


def save(
    folder: Path, package: Package, features: FeatureConfig, shared: Path | None = None
) -> None:
    """Write `package` into a new folder.

    Args:
        folder: The folder to create.
        package: The network.
        features: How the backbone is made; its weights are written.
        shared: File of the backbone (`save_backbone`) that the package refers to, by a relative
            path; by default the package has the backbone itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"network.{k}": v for k, v in package.network.state_dict().items()}
    tensors["attributes"] = package.classes.attributes
    _write(tensors, folder / WEIGHTS_FILE)
    if shared is None:
        save_backbone(folder / BACKBONE_FILE, package.backbone)
    file = shared or folder / BACKBONE_FILE
    about = {
        "features": asdict(features),
        "settings": flatten(package.run),
        "classes": package.classes.names,
        "seen": package.classes.seen.tolist(),
        "attribute_names": package.classes.attribute_names,
        "channels": {str(s): package.backbone.channels[s] for s in package.backbone.levels},
        "rule": asdict(package.rule),
        "weights": {"sha256": sha256_of(folder / WEIGHTS_FILE)},
        "backbone": {"file": os.path.relpath(file, folder), "sha256": sha256_of(file)},
    }
    (folder / METADATA_FILE).write_text(json.dumps(about, indent=1))


def save_backbone(file: Path, backbone: Backbone) -> None:
    """Write the weights of a backbone, its principal components included."""
    _write(backbone.state_dict(), file)


def _write(tensors: Mapping[str, Tensor], file: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)


def load(folder: Path, backbone_file: Path | None = None) -> Package:
    """Return the package that was saved in `folder`.

    Args:
        folder: The package.
        backbone_file: The backbone that it shares, where that is not at the path in `about.json`.

    Raises:
        DataError: A file is gone, damaged or another one.
    """
    try:
        about: dict[str, Any] = json.loads((folder / METADATA_FILE).read_text())
        if sha256_of(folder / WEIGHTS_FILE) != about["weights"]["sha256"]:
            raise DataError(f"{folder / WEIGHTS_FILE}: not the weights that were packed; {AGAIN}.")
        return _loaded(folder, about, backbone_file)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as problem:
        if isinstance(problem, DataError):
            raise
        reason = f"{type(problem).__name__}: {last_line(problem)}"
        raise DataError(f"{folder}: the model's files are damaged ({reason}); {AGAIN}.") from None


def _loaded(folder: Path, about: Mapping[str, Any], backbone_file: Path | None) -> Package:
    tensors = load_file(folder / WEIGHTS_FILE)
    features = FeatureConfig(**{**about["features"], "weights": "random"})
    backbone = Backbone(features)
    backbone.load_state_dict(load_file(_backbone_file(folder, about["backbone"], backbone_file)))
    run = with_overrides(RunConfig(), {**about["settings"], "model.prototypes": "normal"})
    classes = Classes(
        names=tuple(about["classes"]),
        attributes=tensors["attributes"],
        seen=torch.tensor(about["seen"]),
        attribute_names=tuple(about["attribute_names"]),
    )
    channels = {level_of(level): count for level, count in about["channels"].items()}
    count, seen = classes.attributes.shape[1], int(classes.seen.sum())
    network = DRMN(run.model, channels, attributes=count, seen=seen)
    network.load_state_dict(_below(tensors, "network."))
    return Package(backbone, network, run, classes, Rule(**about["rule"]))


def _backbone_file(folder: Path, about: Mapping[str, str], given: Path | None) -> Path:
    """Return the file of a package's backbone, checked by its digest."""
    file = given or folder / about["file"]
    if not file.is_file() or sha256_of(file) != about["sha256"]:
        raise DataError(
            f"{folder}: its backbone, {file}, is gone or another one (its SHA-256 should be "
            f"{about['sha256'][:16]}…); put it there, or {AGAIN}."
        )
    return file


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

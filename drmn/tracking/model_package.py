"""A trained network with all that it needs to classify a photo, as a folder.

The folder holds `about.json` (settings, classes, how they are scored, preprocessing) and
`model.safetensors` (backbone, network, class attributes). Nothing in it is unpickled.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from drmn.config import RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.data.images.pixels import UnreadableError, decode_bytes
from drmn.data.splits.development import Classes
from drmn.errors import ConfigError, DataError
from drmn.evaluation.ensemble import Rule
from drmn.fields import flatten, with_overrides
from drmn.io.folders import composed
from drmn.level_names import LevelName, level_of
from drmn.model.backbone import Backbone
from drmn.model.network import DRMN, hyperspherical
from drmn.tracking.package_files import METADATA_FILE, WEIGHTS_FILE


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

    def candidates(self, more: Mapping[str, Any]) -> Classes:
        """Return the classes with `more` that have no training images.

        Args:
            more: The attributes of each class by its name: a list of all of them in their order, or
                values by attributes' names, 0 for the others. Their scale does not matter.

        Raises:
            ConfigError: A name is taken or unknown, or a row has no length.
        """
        more = {composed(name): given for name, given in more.items()}
        rows = [self._row(name, given) for name, given in more.items()]
        known = self.classes
        return replace(
            known,
            names=(*known.names, *more),
            attributes=torch.cat([known.attributes, *rows]),
            seen=torch.cat([known.seen, torch.zeros(len(rows), dtype=torch.bool)]),
        )

    def _row(self, name: str, given: Any) -> Float[Tensor, "1 attr"]:
        names = self.classes.attribute_names
        if name in self.classes.names:
            raise ConfigError(f"class {name!r} is there already; give a new one another name.")
        if isinstance(given, Mapping):
            given = {composed(attribute): value for attribute, value in given.items()}
            for attribute in given:
                if attribute not in names:
                    close = get_close_matches(attribute, names, n=1) or names[:1]
                    raise ConfigError(
                        f"class {name!r}: there is no attribute {attribute!r}; is it {close[0]!r}?"
                    )
            given = [given.get(attribute, 0.0) for attribute in names]
        row = torch.tensor(given, dtype=torch.float32)
        if row.shape != (len(names),) or not row.isfinite().all() or not row.any():
            raise ConfigError(
                f"class {name!r} needs {len(names)} finite attributes, not all 0; got "
                f"{list(row.shape)}."
            )
        return F.normalize(row, dim=0)[None]

    def maps(self, photos: Sequence[bytes]) -> Mapping[LevelName, Tensor]:
        """Return the backbone's maps of image files given by their bytes.

        Raises:
            DataError: One cannot be decoded; says which and why.
        """
        transform = self.backbone.preprocess.transform()
        pixels = [transform(_decode(photo, place)) for place, photo in enumerate(photos)]
        with torch.inference_mode():
            return self.backbone(torch.stack(pixels))

    @torch.inference_mode()
    def answer(self, maps: Mapping[LevelName, Tensor], classes: Classes | None = None) -> Answer:
        """Classify feature maps, among the classes of `candidates` or its own."""
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


def _decode(photo: bytes, place: int) -> Tensor:
    try:
        return decode_bytes(photo)
    except UnreadableError as problem:
        raise DataError(
            f"image {place}: not a readable image ({problem}); {problem.remedy}."
        ) from None


def save(folder: Path, package: Package, features: FeatureConfig) -> None:
    """Write `package` into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"backbone.{k}": v for k, v in package.backbone.state_dict().items()}
    tensors |= {f"network.{k}": v for k, v in package.network.state_dict().items()}
    tensors["attributes"] = package.classes.attributes
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / WEIGHTS_FILE)
    about = {
        "features": asdict(features),
        "settings": flatten(package.run),
        "classes": package.classes.names,
        "seen": package.classes.seen.tolist(),
        "attribute_names": package.classes.attribute_names,
        "channels": {str(s): package.backbone.channels[s] for s in package.backbone.levels},
        "rule": asdict(package.rule),
    }
    (folder / METADATA_FILE).write_text(json.dumps(about, indent=1))


def load(folder: Path) -> Package:
    """Return the package that was saved in `folder`."""
    about: dict[str, Any] = json.loads((folder / METADATA_FILE).read_text())
    tensors = load_file(folder / WEIGHTS_FILE)
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
    channels = {level_of(level): count for level, count in about["channels"].items()}
    count, seen = classes.attributes.shape[1], int(classes.seen.sum())
    network = DRMN(run.model, channels, attributes=count, seen=seen)
    network.load_state_dict(_below(tensors, "network."))
    return Package(backbone, network, run, classes, Rule(**about["rule"]))


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

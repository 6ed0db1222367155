"""A packed network as one file: ONNX, or PyTorch's exported program, the backbone included.

Inputs are preprocessed pixels, the candidates' attributes, and which of these classes are seen:
classes that the file does not know are one more row. The file's metadata has all else that is
needed to classify a photo (`Metadata`).
"""

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from drmn.data.images.decode import Preprocess
from drmn.data.splits.development import Classes
from drmn.errors import ConfigError
from drmn.evaluation.ensemble import Rule
from drmn.model.network import hyperspherical
from drmn.tracking.model_package import Package

INPUTS = ("pixels", "attributes", "seen")
OUTPUTS = ("scores", "probabilities", "attribute_scores")
TOLERANCE = 1e-4
"""Largest difference of a probability or attribute score that a file may have from the package."""
METADATA = "drmn"
"""Key of the metadata in a file."""
ONNX, PROGRAM = ".onnx", ".pt2"


class ExportedNetwork(nn.Module):
    """Backbone, network and rule as one module of tensors.

    Args:
        package: The packed network.
    """

    def __init__(self, package: Package) -> None:
        super().__init__()
        self.backbone, self.network = package.backbone, package.network
        self.rule, self.scale = package.rule, package.run.model.scale

    def forward(
        self,
        pixels: Float[Tensor, "image 3 size size"],
        attributes: Float[Tensor, "class attr"],
        seen: Float[Tensor, " class"],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return calibrated scores, probabilities before that, and attribute scores.

        Args:
            pixels: Photos, resized, cropped and normalised as the metadata says.
            attributes: Class attributes of the candidates; their scale does not matter.
            seen: 1 for classes that were trained on, 0 for others. The former must be all there and
                in their order; the latter may be any.
        """
        found = self.network(self.backbone.maps(self.backbone.body(pixels)))
        logits = hyperspherical(found.attributes, attributes, self.scale)
        mixed = self._mixed(logits, found.global_logits, seen)
        formula = self.rule.formula
        probabilities = mixed.softmax(dim=-1) if formula == "logits" else mixed
        if formula == "log_mixture":
            mixed = mixed.clamp(min=torch.finfo(mixed.dtype).tiny).log()
        scores = mixed - self.rule.gamma * seen
        return scores, probabilities, F.normalize(found.attributes, dim=-1)

    def _mixed(self, logits: Tensor, global_logits: Tensor | None, seen: Tensor) -> Tensor:
        """Return what `Rule.mixed` does before logarithm and gamma."""
        rule, plain = self.rule, self.rule.formula == "logits"
        own = logits if plain else (logits + rule.delta * (1 - seen)).softmax(dim=-1)
        if global_logits is None:
            return (1 - rule.beta) * own
        other = global_logits if plain else global_logits.softmax(dim=-1)
        place = (seen.cumsum(dim=0) - 1).clamp(min=0).long()  # of a seen class among these
        return (1 - rule.beta) * own + rule.beta * other.index_select(1, place) * seen


@dataclass(frozen=True, slots=True)
class Metadata:
    """All that a file needs to classify a photo beside its weights."""

    classes: Classes
    rule: Rule
    preprocess: Preprocess

    def text(self) -> str:
        """Return it as JSON."""
        known = self.classes
        return json.dumps(
            {
                "classes": known.names,
                "seen": known.seen.tolist(),
                "attributes": [[float(f"{v:.9g}") for v in row] for row in known.attributes],
                "attribute_names": known.attribute_names,
                "rule": asdict(self.rule),
                "preprocess": asdict(self.preprocess),
            }
        )

    @classmethod
    def of(cls, text: str) -> "Metadata":
        """Return the metadata of a file."""
        plain: dict[str, Any] = json.loads(text)
        classes = Classes(
            names=tuple(plain["classes"]),
            attributes=torch.tensor(plain["attributes"]),
            seen=torch.tensor(plain["seen"]),
            attribute_names=tuple(plain["attribute_names"]),
        )
        given = {**plain["preprocess"]}
        given |= {name: tuple(given[name]) for name in ("mean", "std")}
        return cls(classes, Rule(**plain["rule"]), Preprocess(**given))


def metadata_of(package: Package) -> Metadata:
    """Return the metadata of a packed network."""
    return Metadata(package.classes, package.rule, package.backbone.preprocess)


def require_libraries(file: Path) -> None:
    """Raise `ConfigError` if a file's format is unknown, or its library is not installed."""
    if file.suffix not in (ONNX, PROGRAM):
        raise ConfigError(f"--out {file}: the name must end in {ONNX} or {PROGRAM} (torch.export).")
    if file.suffix == ONNX:
        try:
            import onnx  # noqa: F401, PLC0415
            import onnxruntime  # noqa: F401, PLC0415
            import onnxscript  # noqa: F401, PLC0415
        except ImportError as problem:
            raise ConfigError(
                f"--out {file}: ONNX needs a library that is not installed ({problem.name}); "
                "pip install 'drmn[export]'."
            ) from None


def export(package: Package, file: Path) -> None:
    """Write a packed network into a file, by its ending: `.onnx` or `.pt2`."""
    network, size = ExportedNetwork(package).eval(), package.backbone.preprocess.size
    known = package.classes
    example = (torch.zeros(2, 3, size, size), known.attributes, known.seen.float())
    image, count = torch.export.Dim("image"), torch.export.Dim("candidate")
    shapes: dict[str, Any] = {"pixels": {0: image}, "attributes": {0: count}, "seen": {0: count}}
    text = metadata_of(package).text()
    if file.suffix == PROGRAM:
        with torch.no_grad():
            program = torch.export.export(network, example, dynamic_shapes=shapes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weights on a GPU, which these are not
            torch.export.save(program, file, extra_files={METADATA: text})
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of axes that share a name, which is meant
        made = torch.onnx.export(
            network,
            example,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=INPUTS,
            output_names=OUTPUTS,
            verbose=False,
        )
    if made is None:
        raise RuntimeError("torch.onnx.export returned no program.")
    made.model.metadata_props[METADATA] = text
    made.save(str(file), external_data=False)

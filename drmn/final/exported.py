"""A network in an exported file, which classifies photos as the package does that it is from."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from drmn.data.splits.development import Classes
from drmn.errors import ConfigError
from drmn.final.export import INPUTS, METADATA, PROGRAM, Metadata, require_libraries
from drmn.tracking.model_package import Answer, decoded

Run = Callable[[Tensor, Tensor, Tensor], Sequence[Tensor]]
"""Pixels, attributes and seen mask to scores, probabilities and attribute scores."""


class Exported:
    """A network in a file of `drmn.final.export`; no other file is needed.

    Raises:
        ConfigError: The file is none of ours, or its library is not installed.
    """

    def __init__(self, file: Path) -> None:
        require_libraries(file)
        self.run, text = _program(file) if file.suffix == PROGRAM else _onnx(file)
        if not text:
            raise ConfigError(f"{file}: no model of ours; python jobs/export.py writes one.")
        found = Metadata.of(text)
        self.classes, self.rule, self.preprocess = found.classes, found.rule, found.preprocess

    def classify(self, photos: Sequence[bytes], classes: Classes | None = None) -> Answer:
        """Classify image files, given by their bytes, among `classes` or its own.

        Raises:
            DataError: One cannot be decoded; says which and why.
        """
        among = self.classes if classes is None else classes
        pixels = decoded(photos, self.preprocess)
        with torch.inference_mode():
            return Answer(among, *self.run(pixels, among.attributes, among.seen.float()))


def _program(file: Path) -> tuple[Run, str]:
    kept = {METADATA: ""}
    try:
        with zipfile.ZipFile(file):  # the loader tries it as another format, and logs that
            pass
        program = torch.export.load(file, extra_files=kept)
    except (OSError, RuntimeError, ValueError, zipfile.BadZipFile) as problem:
        raise _unreadable(file, problem) from None
    return program.module(), kept[METADATA]


def _onnx(file: Path) -> tuple[Run, str]:
    import onnxruntime  # noqa: PLC0415 - installed for exports alone

    try:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    except Exception as problem:  # noqa: BLE001 - the library's errors have no base of their own
        raise _unreadable(file, problem) from None

    def run(*given: Tensor) -> list[Tensor]:
        named = dict(zip(INPUTS, (each.numpy() for each in given), strict=True))
        return [torch.from_numpy(each) for each in session.run(None, named)]

    return run, session.get_modelmeta().custom_metadata_map.get(METADATA, "")


def _unreadable(file: Path, problem: Exception) -> ConfigError:
    first = str(problem).splitlines()[0]
    return ConfigError(f"{file}: not a model that can be read ({first}).")

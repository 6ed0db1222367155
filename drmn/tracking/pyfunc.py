"""The model as MLflow serves it: MLflow runs this file to make it ("models from code")."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from torch import Tensor

from drmn.errors import UserError
from drmn.tracking.candidates import with_classes
from drmn.tracking.model_package import Answer, Package, load
from drmn.tracking.package_files import BACKBONE, BACKBONE_FILE


class Photos(mlflow.pyfunc.PythonModel):
    """Image files in, classes and evidence out."""

    package: Package

    def load_context(self, context: Any) -> None:
        """Read the weights; those of a backbone that trials share, from MLflow."""
        shared = context.artifacts.get(BACKBONE)
        if shared is not None:
            uri = Path(shared).read_text()
            shared = Path(mlflow.artifacts.download_artifacts(uri)) / BACKBONE_FILE
        self.package = load(Path(context.artifacts["package"]), shared)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return a row per photo: the class, the best classes and the attributes that support it.

        Args:
            context: MLflow's context; unused.
            model_input: A column `image`: bytes of image files, or these in base64.
            params: How many classes (`top`) and `attributes` to return; `attention`, whether to
                return where each attribute looks; `classes`, JSON of more classes
                (`Package.candidates`).
        """
        del context
        asked = {"top": 5, "attributes": 5, "attention": False, "classes": "", **(params or {})}
        try:
            more = with_classes(self.package.classes, _classes(str(asked["classes"])))
            maps = self.package.maps([_bytes(photo) for photo in model_input["image"]])
            answer = self.package.answer(maps, more)
        except UserError as mistake:
            raise MlflowException.invalid_parameter_value(str(mistake)) from None
        looks = self.package.attention(maps) if asked["attention"] else None
        best = answer.scores.argmax(dim=1).tolist()
        found = {
            "class": [answer.classes.names[place] for place in best],
            "score": answer.scores.amax(dim=1).tolist(),
            "probability": [answer.probabilities[i, c].item() for i, c in enumerate(best)],
            "top": [_top(answer, i, int(asked["top"])) for i in range(len(best))],
        }
        speak = answer.shares().argsort(dim=1, descending=True)[:, : int(asked["attributes"])]
        found["attributes"] = [
            _attributes(answer, i, row, looks) for i, row in enumerate(speak.tolist())
        ]
        return pd.DataFrame(found)


def _bytes(photo: bytes | str) -> bytes:
    try:
        return base64.b64decode(photo, validate=True) if isinstance(photo, str) else photo
    except binascii.Error as problem:
        raise MlflowException.invalid_parameter_value(
            f"image must be an image file's bytes, or these in base64 ({problem})."
        ) from None


def _classes(text: str) -> Mapping[str, Any]:
    try:
        more = json.loads(text or "{}")
    except ValueError as problem:
        raise MlflowException.invalid_parameter_value(f"classes: no JSON ({problem}).") from None
    if not isinstance(more, dict):
        raise MlflowException.invalid_parameter_value(
            'classes must be such as {"okapi": {"stripes": 1}}.'
        )
    return more


def _top(answer: Answer, image: int, count: int) -> list[dict[str, Any]]:
    """Return the best classes of an image, the prediction first."""
    return [
        {
            "class": answer.classes.names[place],
            "score": answer.scores[image, place].item(),
            "probability": answer.probabilities[image, place].item(),
            "seen": bool(answer.classes.seen[place]),
        }
        for place in answer.scores[image].argsort(descending=True)[:count].tolist()
    ]


def _attributes(
    answer: Answer, image: int, places: Sequence[int], looks: Tensor | None
) -> list[dict[str, Any]]:
    """Return attributes with their scores and shares, and their attention at a peak of 1."""
    rows = []
    for place in places:
        row: dict[str, Any] = {
            "attribute": answer.classes.attribute_names[place],
            "score": answer.attributes[image, place].item(),
            "share": answer.shares()[image, place].item(),
        }
        if looks is not None:
            row["attention"] = (looks[image, place] / looks[image, place].max()).tolist()
        rows.append(row)
    return rows


mlflow.models.set_model(Photos())

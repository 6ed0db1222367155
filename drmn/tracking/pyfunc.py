"""The model as MLflow serves it: MLflow runs this file to make it ("models from code")."""

import base64
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import INTERNAL_ERROR, INVALID_PARAMETER_VALUE, MlflowException

from drmn.collector import paused

with paused():  # in the process of whoever loads the model: only while this imports torch
    from torch import Tensor

    from drmn.errors import UserError
    from drmn.tracking.candidates import with_classes
    from drmn.tracking.model_package import Answer, Package, load
    from drmn.tracking.package_files import BACKBONE, BACKBONE_FILE

MOST_PHOTOS, MOST_BYTES = 64, 64 * 2**20
"""Photos of a request, and the bytes of all of them, at most: each is a batch in memory."""
MOST_CLASSES = 2**20
"""Characters of the JSON of more classes, at most."""
_BYTES = "image must be an image file's bytes, or these in base64"


class RequestError(MlflowException):
    """A request that cannot be answered, in one sentence."""

    def __init__(self, text: str, error_code: int = INVALID_PARAMETER_VALUE) -> None:
        super().__init__(text, error_code=error_code)
        self.text = text

    def serialize_as_json(self) -> str:
        """Return the server's answer; MLflow writes the request itself before the message."""
        return json.dumps({"error_code": self.error_code, "message": self.text})


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

        Raises:
            RequestError: The request is too large or a mistake, or there is one in this code, whose
                traceback is for the server's log: MLflow would send it to whoever asked.
        """
        del context
        asked = {"top": 5, "attributes": 5, "attention": False, "classes": "", **(params or {})}
        try:
            return self._answer(_photos(model_input), asked)
        except RequestError:
            raise
        except UserError as mistake:
            raise RequestError(str(mistake)) from None
        except Exception:
            logging.getLogger(__name__).exception("a request failed")
            raise RequestError(
                "The model failed on this request; the server's log says why.", INTERNAL_ERROR
            ) from None

    def _answer(self, photos: Sequence[bytes], asked: Mapping[str, Any]) -> pd.DataFrame:
        more = with_classes(self.package.classes, _classes(str(asked["classes"])))
        for name in ("top", "attributes"):
            if int(asked[name]) < 0:
                raise RequestError(f"{name} must be 0 or more; got {asked[name]}.")
        maps = self.package.maps(photos)
        answer = self.package.answer(maps, more)
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


def _photos(frame: pd.DataFrame) -> list[bytes]:
    """Return the photos of a request, whose number and size are checked before they are decoded."""
    given = list(frame["image"])
    if not 0 < len(given) <= MOST_PHOTOS:
        raise RequestError(f"a request has 1 to {MOST_PHOTOS} photos; got {len(given)}.")
    if not all(isinstance(each, bytes | str) for each in given):
        raise RequestError(f"{_BYTES}.")
    sizes = [len(each) * 3 // 4 if isinstance(each, str) else len(each) for each in given]
    if sum(sizes) > MOST_BYTES:
        raise RequestError(
            f"the photos of a request have at most {MOST_BYTES // 2**20} MB; got "
            f"{sum(sizes) / 2**20:.0f} MB."
        )
    return [_bytes(photo) for photo in given]


def _bytes(photo: bytes | str) -> bytes:
    try:
        return base64.b64decode(photo, validate=True) if isinstance(photo, str) else photo
    except ValueError as problem:  # no base64, or no ASCII
        raise RequestError(f"{_BYTES} ({problem}).") from None


def _classes(text: str) -> Mapping[str, Any]:
    if len(text) > MOST_CLASSES:
        raise RequestError(f"classes has at most {MOST_CLASSES} characters; got {len(text)}.")
    try:
        more = json.loads(text or "{}")
    except (ValueError, RecursionError) as problem:
        raise RequestError(f"classes: no JSON ({problem}).") from None
    if not isinstance(more, dict):
        raise RequestError('classes must be such as {"okapi": {"stripes": 1}}.')
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

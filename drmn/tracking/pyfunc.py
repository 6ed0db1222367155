"""The model as MLflow serves it: MLflow runs this file to make it ("models from code")."""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from drmn.tracking.package import Package, load


class Photos(mlflow.pyfunc.PythonModel):
    """Image files in, class and evidence out."""

    package: Package

    def load_context(self, context: Any) -> None:
        """Read the weights."""
        self.package = load(Path(context.artifacts["package"]))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return the predicted class, its calibrated score and the strongest attributes."""
        del context
        count = int((params or {}).get("attributes", 5))
        answer = self.package.classify(list(model_input["image"]))
        best = answer.scores.argmax(dim=1)
        top = answer.attributes.topk(count, dim=1).indices
        classes = self.package.classes
        return pd.DataFrame(
            {
                "class": [classes.names[i] for i in best],
                "score": answer.scores.amax(dim=1).tolist(),
                "attributes": [", ".join(classes.attribute_names[a] for a in row) for row in top],
            }
        )


mlflow.models.set_model(Photos())

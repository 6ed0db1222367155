"""Packed networks into MLflow, as models that load without a pickle and without this checkout."""

from importlib.metadata import version
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

NAME = "drmn"
LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "safetensors",
    "numpy",
    "pandas",
    "jaxtyping",
    "pyarrow",
)
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("binary", "image")]),
    outputs=Schema(
        [ColSpec("string", "class"), ColSpec("double", "score"), ColSpec("string", "attributes")]
    ),
    params=ParamSchema([ParamSpec("attributes", "long", 5)]),
)


def log(client: MlflowClient, run: str, folder: Path) -> None:
    """Log the package in `folder` as the model of a finished run, which stays as it was."""
    before = client.get_run(run).info
    mlflow.set_tracking_uri(client.tracking_uri)
    with mlflow.start_run(run_id=run):
        mlflow.pyfunc.log_model(
            name=NAME,
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={"package": str(folder)},
            code_paths=[str(Path(__file__).parents[1])],
            signature=SIGNATURE,
            pip_requirements=[f"{name}=={version(name)}" for name in LIBRARIES],
        )
    client.set_terminated(run, before.status, before.end_time)

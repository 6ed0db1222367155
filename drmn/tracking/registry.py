"""Packed networks in MLflow: models that load without a pickle and without this checkout.

A study has the models of its trials, as many as its limit has room for: an event lists them, and
MLflow's models are made to agree with the list, so an event may be applied again. The best one is
whole; the others load their frozen backbone from a model that an experiment has once for all.
"""

import io
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Metric
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Array
from PIL import Image

from drmn.errors import DataError
from drmn.tracking.champion import register, source_of
from drmn.tracking.package_files import (
    BACKBONE,
    BACKBONE_FILE,
    BACKBONE_URI,
    holds_backbone,
    package_digest,
    require_whole,
    shared_backbone,
)
from drmn.tracking.spool import Event

OF, RUN, DIGEST = "drmn.models", "drmn.run", "drmn.package"
"""Tags of a model: its study or run, its trial's run, and a digest of its package."""
FINISHED = "FINISHED"
"""Status of a run that has a model: its trial was complete or pruned."""
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
        [
            ColSpec("string", "class"),
            ColSpec("double", "score"),
            ColSpec("double", "probability"),
            ColSpec(Array(AnyType()), "top"),
            ColSpec(Array(AnyType()), "attributes"),
        ]
    ),
    params=ParamSchema(
        [
            ParamSpec("top", "long", 5),
            ParamSpec("attributes", "long", 5),
            ParamSpec("attention", "boolean", default=False),
            ParamSpec("classes", "string", ""),
        ]
    ),
)


def _example() -> pd.DataFrame:
    png = io.BytesIO()
    Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(png, "PNG")
    return pd.DataFrame({"image": [png.getvalue()]})


INPUT_EXAMPLE = _example()
"""Input of a model: shown in the UI, and passed to the model when that is logged."""


def agree(client: MlflowClient, event: Event, need: Callable[[str], str]) -> None:
    """Give a study the models of an event (`events.models`), remove its others, register the first.

    Those whose packages are damaged are left out; what MLflow has of these runs stays.

    Args:
        client: Client of the tracking store.
        event: The event with the list of models.
        need: Returns MLflow's id of the run with a key of ours.

    Raises:
        DataError: Packages are damaged; the other models have arrived.
    """
    experiment = client.get_run(need(event["run"])).info.experiment_id
    wanted, first = {each["run"]: each for each in event["models"]}, event["models"][0]["run"]
    whole, damaged = _sorted_out(wanted)
    digests = {run: package_digest(Path(each["folder"])) for run, each in whole.items()}
    for model in _of(client, experiment, event["run"]):
        run = model.tags[RUN]
        same = model.tags.get(DIGEST) == digests.get(run, "") and model.status == "READY"
        if DIGEST not in model.tags:  # a process that was killed in `_log` left its run started
            client.set_terminated(need(run), FINISHED, client.get_run(need(run)).info.end_time)
        if not (run in damaged or same or _registered(client, model)):
            client.delete_logged_model(model.model_id)
    kept = {model.tags[RUN]: model for model in _of(client, experiment, event["run"])}
    for run, each in whole.items():
        if run not in kept or kept[run].tags.get(DIGEST) != digests[run]:
            tags = {OF: event["run"], RUN: run}
            with TemporaryDirectory() as place:
                more = _more(client, experiment, each, Path(place))
                # The example is tried out, which takes seconds.
                more |= {"tags": tags, "input_example": INPUT_EXAMPLE if run == first else None}
                kept[run] = _log(client, need(run), each, event["registered"]["data"], more)
            # The last of it: a model without is one that a killed process has not finished.
            client.set_logged_model_tags(kept[run].model_id, {DIGEST: digests[run]})
    if first in whole:
        register(client, kept[first], need(first), event["registered"])
    if damaged:
        raise DataError(f"{len(damaged)} of {len(wanted)} models: {next(iter(damaged.values()))}")


def _sorted_out(wanted: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the models whose packages are whole, and what is wrong with the others, by run."""
    whole, damaged = dict(wanted), {}
    for run, each in wanted.items():
        try:
            require_whole(Path(each["folder"]))
        except DataError as problem:
            damaged[run] = str(problem)
            del whole[run]
    return whole, damaged


def _of(client: MlflowClient, experiment: str, key: str) -> list[LoggedModel]:
    found: list[LoggedModel] = []
    token = None
    while True:
        page = client.search_logged_models([experiment], page_token=token)
        found += [model for model in page if model.tags.get(OF) == key]
        token = page.token
        if not token:
            return found


def _more(
    client: MlflowClient, experiment: str, each: Mapping[str, Any], place: Path
) -> dict[str, Any]:
    """Return the artifacts of a model: its package and, if that shares it, its backbone's URI.

    Not a parameter, which MLflow would log for the run too, where it cannot change any more.
    """
    folder = Path(each["folder"])
    if holds_backbone(folder):
        return {"artifacts": {"package": str(folder)}}
    uri = place / BACKBONE_URI
    uri.write_text(_backbone_uri(client, experiment, *shared_backbone(folder)))
    return {"artifacts": {"package": str(folder), BACKBONE: str(uri)}}


def _backbone_uri(client: MlflowClient, experiment: str, file: Path, digest: str) -> str:
    """Return the URI of the backbone with this digest, logged once for each experiment."""
    name = f"backbone-{digest[:16]}"
    there = client.search_logged_models([experiment], filter_string=f"name = '{name}'")
    ready = next((model for model in there if model.status == "READY"), None)
    if ready is None:
        made = client.create_logged_model(
            experiment, name, tags={"sha256": digest}, model_type=BACKBONE
        )
        with TemporaryDirectory() as staging:
            (Path(staging) / BACKBONE_FILE).symlink_to(file.resolve())
            client.log_model_artifacts(made.model_id, staging)
        ready = client.finalize_logged_model(made.model_id, "READY")
    return source_of(ready)


def _log(
    client: MlflowClient, run: str, each: Mapping[str, Any], data: str, more: Mapping[str, Any]
) -> LoggedModel:
    """Log a package as the model of a finished run, which MLflow starts again for it."""
    info = client.get_run(run).info
    mlflow.set_tracking_uri(client.tracking_uri)
    with mlflow.start_run(run_id=run):
        logged = mlflow.pyfunc.log_model(
            name=each["name"],
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            code_paths=[str(Path(__file__).parents[1])],
            signature=SIGNATURE,
            pip_requirements=[f"{name}=={version(name)}" for name in LIBRARIES],
            **more,
        )
    at = info.end_time or info.start_time
    figures = [
        Metric(
            name,
            value,
            at,
            each["step"],
            model_id=logged.model_id,
            dataset_name="validation",
            dataset_digest=data,
            run_id=run,
        )
        for name, value in each["metrics"].items()
    ]
    client.log_batch(run, metrics=figures)
    client.set_terminated(run, FINISHED, info.end_time)
    return client.get_logged_model(logged.model_id)


def _registered(client: MlflowClient, model: LoggedModel) -> bool:
    """Return whether a version of a registered model is this one: it stays."""
    versions = client.search_model_versions(f"run_id = '{model.source_run_id}'")
    return any(each.source == source_of(model) for each in versions)

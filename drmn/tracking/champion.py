"""Registered models: the candidate is the latest, the champion the best on the very same images."""

from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException

CANDIDATE, CHAMPION = "candidate", "champion"


def register(client: MlflowClient, model: LoggedModel, run: str, event: Mapping[str, Any]) -> None:
    """Make a model the candidate; and the champion, if it is better on the very same images.

    The refit of a confirmed winner takes the place of a search's trial, never the other way.
    """
    name = event["name"]
    try:
        client.create_registered_model(name)
    except MlflowException as problem:
        if problem.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name = '{name}'")
    own = next((each for each in versions if each.source == source_of(model)), None)
    refitted = bool(event.get("refitted"))
    tags = {"data": event["data"], "val_H": str(event["value"])}
    tags |= {"refitted": "true"} if refitted else {}
    if own is None:
        own = client.create_model_version(
            name, source_of(model), run, tags=tags, model_id=model.model_id
        )
    if event.get("card"):
        client.update_model_version(name, own.version, description=event["card"])
    client.set_registered_model_alias(name, CANDIDATE, own.version)
    champion = _champion(client, name)
    if champion is None or _outranks(champion.tags, event):
        client.set_registered_model_alias(name, CHAMPION, own.version)


def _outranks(champion: Mapping[str, str], event: Mapping[str, Any]) -> bool:
    """Return whether a model takes the place of the champion with these tags."""
    was, now = "refitted" in champion, bool(event.get("refitted"))
    if was != now:
        return now
    return champion.get("data") == event["data"] and float(champion["val_H"]) < event["value"]


def source_of(model: LoggedModel) -> str:
    """Return a version's `source`: MLflow stores the model's id but does not return it."""
    return f"models:/{model.model_id}"


def _champion(client: MlflowClient, name: str) -> Any:
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as problem:
        if problem.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None

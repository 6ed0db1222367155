"""The packed network of a model: in a folder, or behind one of MLflow's URIs."""

import os
from pathlib import Path

from drmn.errors import ConfigError
from drmn.tracking.package_files import METADATA_FILE
from drmn.tracking.uri import URI


def package_folder(model: str, tracking_uri: str) -> Path:
    """Return the folder of a packed network.

    Args:
        model: A folder with `about.json`, or a URI such as models:/drmn-cub@champion.
        tracking_uri: MLflow's store, for a URI.

    Raises:
        ConfigError: There is no model of ours.
    """
    if "://" not in model and not model.startswith(("models:/", "runs:/")):
        return _checked(Path(model).expanduser(), model)
    os.environ |= {URI: tracking_uri, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    import mlflow  # noqa: PLC0415 - seconds, which a folder does not need
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    mlflow.set_tracking_uri(tracking_uri)
    try:
        place = Path(mlflow.artifacts.download_artifacts(model))
    except (MlflowException, OSError) as problem:
        first = str(problem).splitlines()[0]
        raise ConfigError(f"--model {model}: MLflow has no such model ({first}).") from None
    return _checked(place, model)


def _checked(place: Path, model: str) -> Path:
    found = [place, *sorted(each.parent for each in place.glob(f"artifacts/*/{METADATA_FILE}"))]
    for folder in found:
        if (folder / METADATA_FILE).is_file():
            return folder
    raise ConfigError(
        f"--model {model}: no model of ours (no {METADATA_FILE} in it); jobs/finalize.py makes one "
        "in results/studies/NAME/final/model."
    )

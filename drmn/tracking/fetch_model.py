"""The packed network of a model: in a folder, or behind one of MLflow's URIs."""

import os
from pathlib import Path
from typing import NamedTuple

from drmn.errors import ConfigError
from drmn.flags import expand_home
from drmn.tracking.package_files import BACKBONE_FILE, BACKBONE_URI, METADATA_FILE
from drmn.tracking.uri import URI


class PackageFiles(NamedTuple):
    """Where a packed network is on this disk."""

    folder: Path
    backbone: Path | None = None
    """File of the backbone, where the package does not say that itself."""


def package_files(model: str, tracking_uri: str) -> PackageFiles:
    """Return the files of a packed network.

    Args:
        model: A folder with `about.json`, that of a trial or of a finalized study, or a URI such as
            models:/drmn-cub@champion.
        tracking_uri: MLflow's store, for a URI.

    Raises:
        ConfigError: There is no model of ours.
    """
    if "://" not in model and not model.startswith(("models:/", "runs:/")):
        return PackageFiles(_checked(Path(expand_home(model)), model))
    os.environ |= {URI: tracking_uri, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    import mlflow  # noqa: PLC0415 - seconds, which a folder does not need
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    mlflow.set_tracking_uri(tracking_uri)
    try:
        place = Path(mlflow.artifacts.download_artifacts(model))
        folder = _checked(place, model)
        return PackageFiles(folder, _backbone(place))
    except (MlflowException, OSError) as problem:
        first = str(problem).splitlines()[0]
        raise ConfigError(f"--model {model}: MLflow has no such model ({first}).") from None


def _backbone(place: Path) -> Path | None:
    """Return the file of the backbone that a downloaded model shares with others, fetched too."""
    import mlflow  # noqa: PLC0415 - seconds, which a folder does not need

    uri = place / "artifacts" / BACKBONE_URI
    if not uri.is_file():
        return None
    return Path(mlflow.artifacts.download_artifacts(uri.read_text())) / BACKBONE_FILE


def _checked(place: Path, model: str) -> Path:
    logged = sorted(each.parent for each in place.glob(f"artifacts/*/{METADATA_FILE}"))
    for folder in (place, place / "final" / "model", place / "package", *logged):
        if (folder / METADATA_FILE).is_file():
            return folder
    raise ConfigError(
        f"--model {model}: no model of ours (no {METADATA_FILE} in it); jobs/finalize.py makes one "
        "in results/studies/NAME/final/model."
    )

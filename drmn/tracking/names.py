"""Names of experiments and registered models."""

import os
import re
from collections.abc import Mapping
from typing import Any

OWN = "own"
"""The dataset of a person's own: its folder says which one it is."""


def experiment_name(options: Mapping[str, Any]) -> str:
    """Return the name of the experiment of a dataset: its own name, or `own-FOLDER`.

    Args:
        options: Options of a job that name the data, `dataset` and `data_root`.
    """
    dataset, root = str(options["dataset"]), str(options.get("data_root", ""))
    if dataset != OWN:
        return dataset
    place = root.rstrip("/") if "://" in root else os.path.abspath(root)  # noqa: PTH100 - of ".."
    # MLflow allows no slash, colon, dot or quote in the name of a model.
    folder = re.sub(r"[^\w-]+", "-", place.rpartition("/")[2]).strip("-")
    return f"{OWN}-{folder}".rstrip("-")


def registered_name(experiment: str) -> str:
    """Return the name of the registered model of an experiment."""
    return f"drmn-{experiment}"

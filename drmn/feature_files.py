"""Features from a file in place of a backbone (docs/hdf5.md): for which datasets and options."""

from drmn.fields import require

DATASETS = ("apy", "awa2", "cub", "sun")
"""The datasets whose features are published as files."""
OF_A_BACKBONE = ("backbone", "weights", "image_size", "levels")
"""Settings that features from a file have no use for."""


def require_dataset_of_files(name: str) -> None:
    """Raise `ConfigError` if a dataset's features are not published as files."""
    require("dataset", name, name in DATASETS, f"one of {', '.join(DATASETS)} with --hdf5")

"""A trained network, packed for MLflow."""

from pathlib import Path

from drmn.checkpoint import BEST, State, load
from drmn.config import RunConfig, with_overrides
from drmn.data import features
from drmn.data.development import Development
from drmn.errors import DataError
from drmn.extract import backbone_of
from drmn.model.tuned import Tuned
from drmn.search.folders import trial_folder
from drmn.search.rows import Row
from drmn.tracking.package import Package, save
from drmn.train import build


def takes_photos(store: Path) -> bool:
    """Return whether a network trained on this store can: imported features have no backbone."""
    return features.key_of(features.manifest_of(store)).backbone != features.IMPORTED


def pack_trial(study: Path, row: Row, data: Development, store: Path) -> Path:
    """Write the network of a trial's best epoch into the trial's folder; return the package."""
    folder = trial_folder(study, row.number)
    state = load(folder / BEST)
    if state is None:
        raise DataError(f"{folder / BEST}: the best trial's checkpoint is gone; run it again.")
    return pack(folder / "package", with_overrides(RunConfig(), row.settings), state, data, store)


def pack(folder: Path, run: RunConfig, state: State, data: Development, store: Path) -> Path:
    """Write the network of a checkpoint into `folder`, with what it needs to classify photos.

    Args:
        folder: To make.
        run: The settings it was trained with.
        state: Its weights (`model`) and its figures (`metrics`).
        data: Its classes.
        store: The features; the backbone is the one they were made with.
    """
    backbone, config = backbone_of(store)
    network = build(run, data.classes, backbone.channels)
    trained = Tuned(backbone, network) if run.tier == "finetuned" else network
    trained.load_state_dict(state["model"])
    gamma, beta = state["metrics"]["val/gamma"], state["metrics"]["val/beta"]
    save(folder, Package(backbone, network, run, data.classes, gamma=gamma, beta=beta), config)
    return folder

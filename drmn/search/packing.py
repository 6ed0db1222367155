"""The best trial's network, packed for MLflow."""

from pathlib import Path

from drmn.checkpoint import BEST, load
from drmn.config import RunConfig, with_overrides
from drmn.data import features
from drmn.data.development import Development
from drmn.errors import DataError
from drmn.extract import backbone_of
from drmn.search.folders import trial_folder
from drmn.search.rows import Row
from drmn.tracking.package import Package, save
from drmn.train import build


def takes_photos(store: Path) -> bool:
    """Return whether a network trained on this store can: imported features have no backbone."""
    return features.key_of(features.manifest_of(store)).backbone != features.IMPORTED


def pack(study: Path, row: Row, data: Development, store: Path) -> Path:
    """Write the network of a trial's best epoch into the trial's folder; return the package."""
    folder = trial_folder(study, row.number)
    state = load(folder / BEST)
    if state is None:
        raise DataError(f"{folder / BEST}: the best trial's checkpoint is gone; run it again.")
    run = with_overrides(RunConfig(), row.settings)
    network = build(run, data.classes, data.channels)
    network.load_state_dict(state["model"])
    gamma, beta = state["metrics"]["val/gamma"], state["metrics"]["val/beta"]
    backbone, config = backbone_of(store)
    package = Package(backbone, network, run, data.classes, gamma=gamma, beta=beta)
    save(folder / "package", package, config)
    return folder / "package"

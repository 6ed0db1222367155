"""The best trial's network, packed for MLflow, and a picture of where it looks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drmn.checkpoint import BEST, load
from drmn.config import RunConfig, with_overrides
from drmn.data import features
from drmn.data.development import Development
from drmn.errors import DataError
from drmn.extract import backbone_of
from drmn.pictures.pictures import Pictures
from drmn.search.folders import trial_folder
from drmn.search.rows import Row
from drmn.tracking.package import Package, save
from drmn.train import build

PICTURE = "attention.png"
Files = Mapping[str, Path]
"""Where photos lie, by the names of images."""


def takes_photos(store: Path) -> bool:
    """Return whether a network trained on this store can: imported features have no backbone."""
    return features.key_of(features.manifest_of(store)).backbone != features.IMPORTED


@dataclass(frozen=True, slots=True)
class Packed:
    """A network that was written into a folder."""

    folder: Path
    package: Package


def pack(study: Path, row: Row, data: Development, store: Path) -> Packed:
    """Write the network of a trial's best epoch into the trial's folder."""
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
    return Packed(folder / "package", package)


def picture(
    packed: Packed, title: str, data: Development, store: Path, files: Files
) -> Path | None:
    """Draw where a packed network looks, beside its folder; None where that cannot be drawn.

    It cannot without dual attention; and photos may be gone since their features were made, which
    is no error at the end of a search.
    """
    package, catalogue = packed.package, features.read(store).catalogue
    try:
        pictures = Pictures(data, catalogue, package.backbone.preprocess, files)
    except DataError:
        return None
    return pictures.draw(
        package.network,
        packed.folder.with_name(PICTURE),
        scale=package.run.model.scale,
        gamma=package.gamma,
        beta=package.beta,
        title=title,
    )

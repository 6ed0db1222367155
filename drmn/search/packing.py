"""A trained network, packed for MLflow, and a picture of where it looks."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drmn import calibration
from drmn.checkpoint import BEST, State, load, sha256_of
from drmn.config import RunConfig, with_overrides
from drmn.data import features
from drmn.data.development import Classes, Development
from drmn.ensemble import rule_of
from drmn.errors import DataError
from drmn.extract import backbone_of
from drmn.model.backbone import Backbone
from drmn.model.network import DRMN
from drmn.model.tuned import Tuned
from drmn.pictures import tradeoff
from drmn.pictures.pictures import Pictures
from drmn.search.folders import CURVE, PACKAGE, PICTURE, trial_folder
from drmn.search.rows import Row
from drmn.tracking.package import Package, save
from drmn.train import build
from drmn.validate import predict

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


def pack_trial(study: Path, row: Row, data: Development, store: Path) -> Packed:
    """Write the network of a trial's best epoch into the trial's folder."""
    place = trial_folder(study, row.number) / PACKAGE
    return pack(place, with_overrides(RunConfig(), row.settings), state_of(study, row), data, store)


def pack_best(study: Path, rows: Sequence[Row], data: Development, store: Path) -> list[Packed]:
    """Pack the networks of these trials, and remove those of all others of the study."""
    kept = {row.number for row in rows}
    for folder in study.glob(f"trials/*/{PACKAGE}"):
        if int(folder.parent.name) not in kept:
            shutil.rmtree(folder)
    return [pack_trial(study, row, data, store) for row in rows]


def state_of(study: Path, row: Row) -> State:
    """Return the state of a trial's best epoch.

    Raises:
        DataError: The file is gone, damaged, or not the one that the trial wrote.
    """
    path = trial_folder(study, row.number) / BEST
    again = f"--warm-start {study.name} --study NAME trains its settings again"
    state = load(path)
    if state is None:
        raise DataError(
            f"{path}: the best trial's checkpoint is gone or damaged; put a copy back, or {again}."
        )
    if sha256_of(path) != row.checkpoint.get("sha256"):
        raise DataError(
            f"{path}: not the checkpoint that trial {row.number} wrote at epoch {row.best_epoch}, "
            f"by its SHA-256 in the record; put that back, or {again}."
        )
    return state


def pack(folder: Path, run: RunConfig, state: State, data: Development, store: Path) -> Packed:
    """Write the network of a checkpoint into `folder`, with what it needs to classify photos.

    Args:
        folder: To make.
        run: The settings it was trained with.
        state: Its weights (`model`) and its figures (`metrics`).
        data: Its classes.
        store: The features; the backbone is the one they were made with.
    """
    backbone, config = backbone_of(store)
    network = restored(run, state, data.classes, backbone)
    rule = rule_of(run.model.ensemble, state["metrics"])
    package = Package(backbone, network, run, data.classes, rule)
    save(folder, package, config)
    return Packed(folder, package)


def restored(run: RunConfig, state: State, classes: Classes, backbone: Backbone) -> DRMN:
    """Return the trained head of a checkpoint; a backbone that was trained along is loaded too."""
    network = build(run, classes, backbone.channels)
    trained = Tuned(backbone, network) if run.tier == "finetuned" else network
    trained.load_state_dict(state["model"])
    return network


def curve(packed: Packed, title: str, data: Development) -> Path | None:
    """Draw seen and unseen accuracy of a packed network at every gamma, beside its folder.

    None where the backbone was trained along: stored features are not what that network sees.
    """
    package = packed.package
    if package.run.tier != "frozen":
        return None
    rule, seen = package.rule, data.classes.seen
    made = predict(package.run, package.network, [data.val_seen, data.val_unseen], data.classes)
    scores = replace(rule, gamma=0.0).scores(made.semantic, made.globally, seen)
    leads = calibration.reduce(scores, made.labels, seen)
    path = packed.folder.with_name(CURVE)
    tradeoff.draw(calibration.curve(leads), calibration.at(leads, rule.gamma), path, title)
    return path


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
        rule=package.rule,
        title=title,
    )

"""A trained network, packed for MLflow, and a picture of where it looks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from drmn.config import RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.data.splits.development import Classes, Development, Fold, Images
from drmn.data.store import feature_store
from drmn.errors import DataError
from drmn.evaluation import calibration
from drmn.evaluation.ensemble import Rule, rule_of
from drmn.evaluation.validation import predict
from drmn.experiment.trial_checkpoints import CURVE, PICTURE
from drmn.io.content import is_made, note_made
from drmn.model.backbone import Backbone
from drmn.model.extraction import backbone_of
from drmn.model.finetuned import FinetunedNetwork
from drmn.model.network import DRMN
from drmn.tracking.model_package import Package, save, save_backbone
from drmn.training.checkpoint import State
from drmn.training.loop import build_head
from drmn.visualization import seen_unseen_curve
from drmn.visualization.attention_maps import AttentionFigure

Files = Mapping[str, Path]
"""Paths of photos, by the names of images."""


def takes_photos(store: Path) -> bool:
    """Return whether a network trained on this store takes photos: imports have no backbone."""
    return feature_store.key_of(feature_store.manifest_of(store)).backbone != feature_store.IMPORTED


@dataclass(frozen=True, slots=True)
class Packed:
    """A network that was written into a folder."""

    folder: Path
    package: Package


def pack(
    folder: Path,
    run: RunConfig,
    state: State,
    data: Fold[Images],
    store: Path,
    *,
    rule: Rule | None = None,
    shared: Path | None = None,
    frozen: tuple[Backbone, FeatureConfig] | None = None,
) -> Packed:
    """Write the network of a checkpoint into `folder`, with all it needs to classify photos.

    Args:
        folder: The folder to create.
        run: The settings it was trained with.
        state: Its weights (`model`) and its figures (`metrics`).
        data: The images, for their classes.
        store: The features; the backbone is the one they were made with.
        rule: How the classes are scored; by default as its figures say.
        shared: The study's file of the backbone, made where it is missing, for the package to refer
            to; by default, and where the backbone was trained too, the package has it itself.
        frozen: The store's backbone (`backbone_of`), where many packages take the same; unused
            where the backbone was trained too.
    """
    trained_too = run.tier == "finetuned"
    backbone, config = backbone_of(store) if trained_too or frozen is None else frozen
    network = restore_network(run, state, data.classes, backbone)
    rule = rule or rule_of(run.model.ensemble, state["metrics"])
    package = Package(backbone, network, run, data.classes, rule)
    if trained_too:
        shared = None
    if shared is not None and not is_made(shared, of := {"features": store.name}):
        save_backbone(shared, backbone)
        note_made(shared, of)
    save(folder, package, config, shared)
    return Packed(folder, package)


def restore_network(run: RunConfig, state: State, classes: Classes, backbone: Backbone) -> DRMN:
    """Return the trained head of a checkpoint; a fine-tuned backbone is loaded too."""
    network = build_head(run, classes, backbone.channels)
    trained = FinetunedNetwork(backbone, network) if run.tier == "finetuned" else network
    trained.load_state_dict(state["model"])
    return network


def draw_curve(packed: Packed, title: str, data: Development) -> Path | None:
    """Draw seen and unseen accuracy of a packed network at every gamma, beside its folder.

    None where the backbone was fine-tuned: stored features are not the input of that network.
    """
    package = packed.package
    if package.run.tier != "frozen":
        return None
    rule, seen = package.rule, data.classes.seen
    made = predict(package.run, package.network, [data.val_seen, data.val_unseen], data.classes)
    scores = replace(rule, gamma=0.0).scores(made.class_logits, made.global_logits, seen)
    leads = calibration.reduce(scores, made.labels, seen)
    path = packed.folder.with_name(CURVE)
    seen_unseen_curve.draw_seen_unseen(
        calibration.seen_unseen_curve(leads), calibration.at(leads, rule.gamma), path, title
    )
    return path


def draw_attention(
    packed: Packed, title: str, data: Development, store: Path, files: Files
) -> Path | None:
    """Draw where a packed network looks, beside its folder; None where that cannot be drawn.

    It cannot without dual attention; and photos may be gone since their features were made, which
    is no error at the end of a search.
    """
    package, catalogue = packed.package, feature_store.read(store).catalogue
    try:
        pictures = AttentionFigure(data, catalogue, package.backbone.preprocess, files)
    except DataError:
        return None
    return pictures.draw(
        package.network,
        packed.folder.with_name(PICTURE),
        scale=package.run.model.scale,
        rule=package.rule,
        title=title,
    )

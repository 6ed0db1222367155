"""Pictures of where a network looks, drawn every few epochs while it is trained."""

import copy
from pathlib import Path

from drmn.config import RunConfig
from drmn.data.images.catalogue import Catalogue
from drmn.data.splits import development
from drmn.data.store import feature_store
from drmn.evaluation.ensemble import rule_of
from drmn.experiment.config import PicturesConfig
from drmn.experiment.model_export import restore_network, takes_photos
from drmn.experiment.trial_checkpoints import snapshot_path
from drmn.model.extraction import backbone_of
from drmn.training.loop import Epoch
from drmn.visualization.attention_maps import AttentionFigure


class AttentionSnapshots:
    """Draws the same images every few epochs.

    Args:
        run: The settings.
        store: The feature store, which names the backbone.
        catalogue: The photos.
        folder: Folder of the trial.
        config: What is drawn, and how often.

    Raises:
        ConfigError: There is no image or attribute of a name.
        DataError: A photo is gone or damaged.
    """

    def __init__(
        self,
        run: RunConfig,
        store: Path,
        catalogue: Catalogue,
        folder: Path,
        config: PicturesConfig,
    ) -> None:
        self.run, self.folder, self.every = run, folder, config.every
        self.backbone, _ = backbone_of(store)
        data = development.open_store(store, fold=run.fold)
        self.classes = data.classes
        self.pictures = AttentionFigure(
            data,
            feature_store.read(store).catalogue,
            self.backbone.preprocess,
            catalogue.places(),
            images=config.images,
            attributes=config.attributes,
        )

    def draw(self, epoch: Epoch) -> None:
        """Draw an epoch, if it is one to be drawn."""
        if epoch.number % self.every and epoch.number != self.run.optim.epochs:
            return
        tuned = copy.deepcopy(self.backbone) if self.run.tier == "finetuned" else None
        network = restore_network(self.run, epoch.state, self.classes, tuned or self.backbone)
        self.pictures.draw(
            network,
            snapshot_path(self.folder, epoch.number),
            scale=self.run.model.scale,
            rule=rule_of(self.run.model.ensemble, epoch.metrics),
            title=f"Epoch {epoch.number}: where the network looks",
            backbone=tuned,
        )


def is_wanted(run: RunConfig, store: Path, catalogue: Catalogue, config: PicturesConfig) -> bool:
    """Return whether pictures are asked for, the model has attention, and the data has photos."""
    photos = bool(catalogue.files) and takes_photos(store)
    return bool(config.every) and run.model.dab and photos

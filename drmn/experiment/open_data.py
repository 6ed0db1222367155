"""Data that a run is trained on: stored features, or photos and a backbone for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drmn.config import RunConfig
from drmn.data.images.catalogue import Catalogue
from drmn.data.splits import development
from drmn.data.splits.development import Fold, Images
from drmn.data.splits.division import Division
from drmn.data.splits.photos import open_photos
from drmn.data.store.local_copy import local_copy
from drmn.fields import with_overrides
from drmn.model.backbone import Backbone
from drmn.model.extraction import backbone_of
from drmn.space_features import needed_levels


def open_run_data(
    settings: Mapping[str, Any], store: Path, catalogue: Catalogue | None
) -> tuple[RunConfig, Fold[Images], Backbone | None]:
    """Return the settings, the data and, for the finetuned tier, the backbone.

    Args:
        settings: Settings of a run, flat.
        store: The feature store, which names the backbone too; a machine with a local disk for it
            (DRMN_SCRATCH) reads a copy there.
        catalogue: The photos; the frozen tier needs none.
    """
    run = with_overrides(RunConfig(), settings)
    if run.tier == "frozen" or catalogue is None:
        stored = development.open_store(
            local_copy(store),
            fold=run.fold,
            block=run.block,
            held_out=run.held_out,
            levels=needed_levels(run.model),
        )
        return run, stored, None
    backbone, _ = backbone_of(store)
    division = Division(fold=run.fold, block=run.block, held_out=run.held_out)
    augment = run.finetune.augment
    data = open_photos(catalogue, backbone.preprocess, division, augment=augment)
    return run, data, backbone

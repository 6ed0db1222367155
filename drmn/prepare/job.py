"""Features for a job: its request, and their preparation."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from drmn.cluster.connect import check_start, ray_session
from drmn.cluster.reachable import check_ray
from drmn.data import specs
from drmn.data.feature_config import FeatureConfig
from drmn.data.images.catalogue import Catalogue
from drmn.data.store import feature_store
from drmn.io.progress import StartProgress
from drmn.io.remote_files import local
from drmn.model.extraction import weights_file
from drmn.prepare.datasets import open_dataset
from drmn.prepare.features import Spread, backbone_for, prepare


@runtime_checkable
class FeatureJob(Protocol):
    """A job that needs features, by its settings."""

    @property
    def dataset(self) -> str:
        """Name of the dataset."""

    @property
    def data_root(self) -> str:
        """A folder or a URI of one."""

    @property
    def features(self) -> FeatureConfig:
        """Settings of the features."""

    @property
    def results(self) -> Path:
        """Folder of the results."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureRequest:
    """Request of a job for the features of a dataset."""

    dataset: str
    data_root: str
    """A folder or a URI of one."""
    features: FeatureConfig
    results: Path
    fold: int = 1
    workers: int = 0
    """Workers on a Ray cluster; 0 for this process, or for all of the cluster of RAY_ADDRESS."""
    gpus: float = 0
    for_trials: bool = False
    """Whether Ray runs trials on them: it has to start here before time is spent on features."""

    @classmethod
    def of(
        cls, job: FeatureJob, *, fold: int, gpus: float, workers: int = 0, for_trials: bool = False
    ) -> "FeatureRequest":
        """Return what a job asks for on its command line."""
        return cls(
            dataset=job.dataset,
            data_root=job.data_root,
            features=job.features,
            results=job.results,
            fold=fold,
            workers=workers,
            gpus=gpus,
            for_trials=for_trials,
        )


def prepare_features(
    request: FeatureRequest, say: Callable[[str], None], progress: StartProgress
) -> tuple[Path, Catalogue]:
    """Return a dataset's feature store, made if need be, and its catalogue with image paths.

    Args:
        request: The features to prepare.
        say: Prints a line.
        progress: Starts the progress of a piece of work.
    """
    config = request.features
    over_ray = not config.hdf5 and bool(request.workers or os.environ.get("RAY_ADDRESS"))
    if over_ray:
        check_ray()
    # A model, level or file of weights that does not exist fails before any image is read.
    backbone = None if config.hdf5 else backbone_for(request.dataset, config)
    catalogue = _catalogue(request, progress)
    for note in catalogue.notes:
        say(f"note: {note}")

    def make(spread: Spread | None = None) -> Path:
        return prepare(
            catalogue,
            config,
            request.results / "features",
            fold=request.fold,
            start=progress,
            waiting=lambda who: say(f"process {who} is making these features: waiting"),
            spread=spread,
            backbone=backbone,
            before=check_start if request.for_trials and not over_ray else lambda: None,
        )

    if not over_ray:
        return make(), catalogue
    from drmn.prepare.ray_extraction import over_cluster  # noqa: PLC0415

    with ray_session():
        return make(over_cluster(request.workers, request.gpus)), catalogue


def _catalogue(request: FeatureRequest, progress: StartProgress) -> Catalogue:
    """Return the development catalogue, its files fetched, checked or drawn."""
    spec, config = specs.spec(request.dataset), request.features
    if spec.rendered:
        root = request.results / spec.name
    else:
        root = local(request.data_root, request.results / "data", progress("data root"))
    return open_dataset(
        request.dataset,
        root,
        request.results,
        on_bad=config.on_bad,
        hdf5_file=Path(config.hdf5) if config.hdf5 else None,
        start=progress,
    )


def data_places(request: FeatureRequest) -> list[Path | str]:
    """Return the files and folders that a request reads; "" for those of another machine."""
    spec, file = specs.spec(request.dataset), request.features.hdf5
    here = Path(request.data_root) if "://" not in request.data_root else ""
    root = request.results / spec.name if spec.rendered else here
    return [root, *([Path(file)] if file else [])]


def made_places(request: FeatureRequest, store: Path) -> list[Path]:
    """Return the files and folders that were made for a request, its store among them."""
    weights = feature_store.key_of(feature_store.manifest_of(store)).weights
    own = Path(request.features.weights)
    return [
        store,
        weights_file(store.parent, weights),
        *sorted((request.results / "sealed").glob(f"{request.dataset}-*")),
        *sorted((request.results / "baselines").glob(f"{store.name}-fold{request.fold}-*.json")),
        *([own] if own.is_file() else []),
    ]

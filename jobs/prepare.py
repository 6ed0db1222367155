"""Check a dataset's files and images and write its feature store; look after the stores there are.

python jobs/prepare.py --dataset demo
python jobs/prepare.py --dataset cub --data-root ~/data --backbone resnet101 --image-size 448
python jobs/prepare.py --backbone vit_small_patch14_dinov2 --show-levels
python jobs/prepare.py --list
python jobs/prepare.py --verify
python jobs/prepare.py --prune --max-bytes 20GB
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from drmn.cli import Dataset, given, require_dataset, require_used_features, run
from drmn.data.feature_config import FeatureConfig
from drmn.errors import ConfigError
from drmn.fields import require
from drmn.flags import refuse_unused
from drmn.unused import notes, values_of

if TYPE_CHECKING:
    from rich.console import Console

COMMON = {
    "Data": ("--dataset", "--data-root", "--hdf5", "--on-bad"),
    "Features": ("--backbone", "--weights", "--image-size", "--levels", "--show-levels"),
    "Stored": ("--encoding", "--fold"),
    "Workers": ("--workers", "--gpus"),
    "Look after stores": ("--list", "--verify", "--prune", "--max-bytes", "--export-hdf5"),
    "Where": ("--results",),
}
"""The options in the short help."""
STORES = ("list", "verify", "prune", "max_bytes", "export_hdf5", "results")
"""Options that need no dataset."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareJob:
    """Check a dataset's files and images and write its feature store; look after the stores."""

    dataset: Dataset = ""
    data_root: str = "data"
    """Folder or s3:// URI with xlsa17/ and the images. The demo needs none."""
    features: Annotated[FeatureConfig, tyro.conf.arg(name="")] = field(
        default_factory=FeatureConfig
    )
    fold: int = 1
    """Fold on whose training images int8 and pca are fitted."""
    workers: int = 0
    """Ray workers to extract with; 0 for this process, or all of the cluster RAY_ADDRESS names."""
    gpus: float = 0
    """GPUs of a worker."""
    export_hdf5: Path | None = None
    """Write the fold's development data into this file too. Laid out for DAZLE, TransZero, MSDN."""
    show_levels: bool = False
    """Show the levels that --levels may name for --backbone; nothing is read or made."""
    list: bool = False
    """Show the stores there are, whole or half-made."""
    verify: bool = False
    """Compare every byte of every store with its digests."""
    prune: bool = False
    """Remove the stores used longest ago until they take --max-bytes."""
    max_bytes: str = ""
    """Size for --prune, such as 20GB."""
    results: Path = Path("results")
    """Folder of features, studies, runs and figures."""


def check(job: PrepareJob) -> None:
    """Raise `ConfigError` if the settings do not go together."""
    require("fold", job.fold, job.fold in (1, 2, 3), "1, 2 or 3")
    require("workers", job.workers, job.workers >= 0, "0 or more")
    require("gpus", job.gpus, job.gpus >= 0, "0 or more")
    spread = job.workers > 0 or bool(os.environ.get("RAY_ADDRESS"))
    if job.gpus and not spread:
        raise ConfigError(
            f"--gpus {job.gpus:g} is of each Ray worker: give --workers too, or RAY_ADDRESS."
        )
    if job.features.hdf5 and (job.workers or job.gpus):
        raise ConfigError(
            "--hdf5 reads features from a file, so nothing is extracted: leave out --workers and "
            "--gpus."
        )
    if job.dataset or not (job.show_levels or job.list or job.verify or job.prune):
        require_dataset(job.dataset)
    if job.export_hdf5 is not None and not job.dataset:
        raise ConfigError("--export-hdf5 needs --dataset: which store is to be exported.")
    if (job.list or job.verify or job.prune) and not job.dataset:
        refuse_unused(given(), STORES, "looking after stores, without --dataset,")
    require_used_features(job.features.hdf5, job.dataset)
    if job.prune != bool(job.max_bytes):
        raise ConfigError("--prune and --max-bytes go together: --prune --max-bytes 20GB.")


def main(job: PrepareJob) -> None:
    """Prepare, then print where the store is; or look after the stores."""
    check(job)

    from rich.console import Console

    from drmn.report import stores

    console, root = Console(), job.results / "features"
    if job.show_levels:
        show_levels(job, console)
        return
    if job.dataset:
        prepare(job, console)
    if job.list:
        stores.show(console, root)
    if job.verify:
        stores.verify(console, root)
    if job.prune:
        stores.prune(console, root, job.max_bytes)


def prepare(job: PrepareJob, console: "Console") -> None:
    """Prepare the features of a dataset, print where they are, and export them if asked to."""
    from drmn.data.splits.export_hdf5 import check_target
    from drmn.prepare.job import FeatureRequest
    from drmn.report import stores
    from drmn.report.say import say
    from drmn.report.terminal import prepared

    if job.export_hdf5 is not None:
        check_target(job.export_hdf5)
    for note in notes(given(), values_of(job)):
        say(console, note)
    request = FeatureRequest.of(job, fold=job.fold, gpus=job.gpus, workers=job.workers)
    place, _ = prepared(console, request)
    print(place)
    if job.export_hdf5 is not None:
        stores.export(console, place, job.fold, job.export_hdf5)


def show_levels(job: PrepareJob, console: "Console") -> None:
    """Print the levels of the backbone."""
    from drmn.data import specs
    from drmn.report import levels

    size = specs.spec(job.dataset).image_size if job.dataset else 0
    levels.show(console, job.features, size)


if __name__ == "__main__":
    run(main, PrepareJob, COMMON)

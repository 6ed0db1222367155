"""Check a dataset's files and write its feature store.

python jobs/prepare.py --dataset demo
python jobs/prepare.py --dataset cub --data-root ~/data --backbone resnet101 --image-size 448
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from drmn.cli import run
from drmn.config import FeatureConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareJob:
    """Check a dataset's files and write its feature store."""

    dataset: str
    """One of: awa2, cub, demo, sun; or own (docs/own-data.md)."""
    data_root: Path = Path("data")
    """The folder that holds xlsa17/ and the images; the demo needs none."""
    features: Annotated[FeatureConfig, tyro.conf.arg(name="")] = field(
        default_factory=FeatureConfig
    )
    storage: Path = Path("results")
    """Where everything is kept that jobs make."""


def main(job: PrepareJob) -> None:
    """Prepare, then print where the store is."""
    from rich.console import Console

    from drmn.report.terminal import prepared

    store = prepared(Console(), job.dataset, job.data_root, job.features, job.storage)
    print(store)


if __name__ == "__main__":
    run(main, PrepareJob)

"""Train one network at given settings, through Ray Train. The same command resumes it.

python jobs/train.py --dataset demo                                     # minutes on a laptop
python jobs/train.py --dataset cub --data-root ~/data --workers 2       # two processes, one batch
python jobs/train.py --dataset cub --data-root ~/data --ablation no-sit # a row of the paper's table
python jobs/train.py --dataset cub --data-root ~/data --tier finetuned  # fine-tune the backbone
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from drmn.cli import run as run_job
from drmn.cluster.resources import WorkerGroupConfig
from drmn.config import FeatureConfig, RunConfig
from drmn.errors import ConfigError
from drmn.experiment.config import PicturesConfig, require_name
from drmn.tracking.uri import default_store

COMMON = {
    "Data": ("--dataset", "--data-root", "--backbone", "--image-size", "--levels", "--hdf5"),
    "Network": (
        *("--ablation", "--model.sit", "--model.fusion", "--model.width", "--model.scale"),
        *("--loss.global-branch", "--loss.self-calibration", "--tier"),
    ),
    "Training": ("--optim.lr", "--optim.epochs", "--optim.batch-size", "--seed", "--fold"),
    "Workers": ("--workers", "--max-workers", "--cpus", "--gpus"),
    "Where": ("--run", "--results", "--tracking-uri", "--json"),
}
"""What the short help shows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainJob:
    """Train one network at given settings, through Ray Train. The same command resumes it."""

    dataset: str
    """One of: apy, awa2, cub, demo, sun; or own (docs/own-data.md)."""
    data_root: str = "data"
    """Folder or s3:// URI with xlsa17/ and the images. The demo needs none."""
    ablation: str = "full"
    """Row of the paper's ablation table. It overrides the settings: full, no-dab, no-fusion,
    no-channel-attention, no-sit or no-global-branch."""
    run: str = ""
    """Name of the run. By default of dataset, tier and ablation. One that exists is resumed."""
    config: Annotated[RunConfig, tyro.conf.FlagConversionOff, tyro.conf.arg(name="")] = field(
        default_factory=RunConfig
    )
    features: Annotated[FeatureConfig, tyro.conf.arg(name="")] = field(
        default_factory=FeatureConfig
    )
    pictures: PicturesConfig = field(default_factory=PicturesConfig)
    workers: int = 1
    """Processes that train together; each takes its share of every batch."""
    max_workers: int = 0
    """Most workers to use where the cluster has room. After a loss fewer continue; 0 for as many as
    --workers."""
    cpus: float = 1
    """Cores of a worker."""
    gpus: float = 0
    """GPUs of a worker."""
    failures: int = 3
    """How often workers may be lost before the run gives up."""
    results: Path = Path("results")
    """Folder of features, studies, runs and figures."""
    tracking_uri: str = field(default_factory=default_store)
    """MLflow's SQLite file or server. By default that of MLFLOW_TRACKING_URI."""
    json: Path | None = None
    """Write the result as JSON into this file."""


def main(job: TrainJob) -> None:
    """Prepare the features, train, and show what came of it."""
    from drmn.model.ablations import ablated

    config = ablated(job.config, job.ablation)
    if job.json is not None and not job.json.absolute().parent.is_dir():
        raise ConfigError(f"--json {job.json}: no such folder to write into.")
    name = job.run or f"{job.dataset}-{config.tier}-{job.ablation}"
    require_name("run", name)
    group = WorkerGroupConfig(
        least=job.workers,
        most=max(job.workers, job.max_workers),
        cpus=job.cpus,
        gpus=job.gpus,
        failures=job.failures,
    )

    from rich.console import Console

    from drmn.prepare.job import FeatureRequest
    from drmn.report.run import Shown, summary
    from drmn.report.terminal import prepared
    from drmn.run.driver import Plan, run

    console = Console()
    request = FeatureRequest(
        dataset=job.dataset,
        data_root=job.data_root,
        features=job.features,
        results=job.results,
        fold=config.fold,
        gpus=job.gpus,
    )
    store, catalogue = prepared(console, request)
    plan = Plan(
        name=name,
        dataset=job.dataset,
        config=config,
        store=store,
        catalogue=catalogue,
        folder=job.results / "runs" / name,
        tracking_uri=job.tracking_uri,
        group=group,
        pictures=job.pictures,
    )
    outcome = run(plan, Shown(console, config.optim.epochs), console)
    if job.json is not None:
        job.json.write_text(json.dumps(outcome.plain(), indent=1))
    summary(console, plan, outcome)


if __name__ == "__main__":
    run_job(main, TrainJob, COMMON)

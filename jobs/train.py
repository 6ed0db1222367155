"""Train one network at given settings. The same command resumes it.

python jobs/train.py --dataset demo                                     # minutes on a laptop
python jobs/train.py --dataset cub --data-root ~/data --workers 2       # two processes, one batch
python jobs/train.py --dataset cub --data-root ~/data --ablation no-sit # a row of the paper's table
python jobs/train.py --dataset cub --data-root ~/data --tier finetuned  # fine-tune the backbone
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from drmn.cli import (
    Dataset,
    arguments,
    given,
    parse,
    require_dataset,
    require_place,
    require_used_features,
    write_json,
)
from drmn.cli import run as run_job
from drmn.cluster.resources import ResourceConfig
from drmn.config import RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.experiment.config import PicturesConfig, require_name
from drmn.fields import flatten
from drmn.search.config import Objective
from drmn.tracking.uri import default_store
from drmn.unused import notes, overridden, values_of

COMMON = {
    "Data": ("--dataset", "--data-root", "--backbone", "--image-size", "--levels", "--hdf5"),
    "Network": (
        *("--ablation", "--model.sit", "--model.fusion", "--model.width", "--model.scale"),
        *("--loss.global-branch", "--loss.self-calibration", "--tier"),
    ),
    "Training": ("--optim.lr", "--optim.epochs", "--optim.batch-size", "--seed", "--fold"),
    "Workers": ("--workers", "--max-workers", "--cpus", "--gpus", "--backend"),
    "Where": (
        "--from",
        "--run",
        "--status",
        "--stop",
        "--results",
        "--storage",
        "--tracking-uri",
        "--json",
    ),
}
"""The options in the short help."""
ONE = ("run", "from", "dataset", "tier", "ablation")
LOOKS = {"stop": ONE, "status": ONE, "verify": ONE}
"""Modes that look after a run, in their order, and the options that name it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainJob:
    """Train one network at given settings. The same command resumes it."""

    dataset: Dataset = ""
    data_root: str = "data"
    """Folder or s3:// URI with xlsa17/ and the images. The demo needs none."""
    ablation: str = "full"
    """Row of the paper's ablation table. It overrides the settings: full, no-dab, no-fusion,
    no-channel-attention, no-sit or no-global-branch."""
    from_: Annotated[str, tyro.conf.arg(name="from")] = ""
    """Settings of STUDY[/TRIAL], a JSON file or a run of MLflow. By default the study's best trial.
    Options that are given too take the place of those."""
    run: str = ""
    """Name of the run. By default of dataset, tier and ablation, or of the trial that --from names.
    One that exists is resumed."""
    objective: Objective = "val/H"
    """Metric whose best epoch is kept."""
    config: Annotated[RunConfig, tyro.conf.FlagConversionOff, tyro.conf.arg(name="")] = field(
        default_factory=RunConfig
    )
    features: Annotated[FeatureConfig, tyro.conf.arg(name="")] = field(
        default_factory=FeatureConfig
    )
    pictures: PicturesConfig = field(default_factory=PicturesConfig)
    resources: Annotated[ResourceConfig, tyro.conf.arg(name="")] = field(
        default_factory=ResourceConfig
    )
    status: bool = False
    """Show how far the run is, and its driver."""
    verify: bool = False
    """Compare the files that the run keeps with their digests."""
    stop: bool = False
    """Stop the driver of the run on this machine. The same command resumes it."""
    results: Path = Path("results")
    """Folder of features, studies, runs and figures."""
    storage: str = ""
    """PostgreSQL that holds the record. By default a SQLite file in the run's folder does; such as
    postgresql://user@host/database, with the password in ~/.pgpass or PGPASSWORD."""
    tracking_uri: str = field(default_factory=default_store)
    """MLflow's SQLite file or server. By default that of MLFLOW_TRACKING_URI."""
    json: Path | None = None
    """Write the result as JSON into this file."""


def main(job: TrainJob) -> None:
    """Prepare the features, train, and print the result; or look after a run."""
    require_place(job.json)
    if job.from_:
        job = with_source(job)
    if job.dataset or not (job.run and any(getattr(job, name) for name in LOOKS)):
        require_dataset(job.dataset)
    name = job.run or f"{job.dataset}-{job.config.tier}-{job.ablation}"
    require_name("run", name)
    if modes := [name for name in LOOKS if getattr(job, name)]:
        look_after(job, modes, name)
        return
    require_used_features(job.features.hdf5, job.dataset)
    train(job, job.results / "runs" / name)


def with_source(job: TrainJob) -> TrainJob:
    """Return the job of what `--from` names; options of the command line take precedence."""
    from drmn.search.analysis.train_source import source_arguments

    found = source_arguments(job.from_, job.results, job.storage, job.tracking_uri)
    return parse(TrainJob, [*found, *arguments()])


def train(job: TrainJob, folder: Path) -> None:
    """Train the run that is kept in `folder`."""
    from drmn.model.ablations import ablated

    config = ablated(job.config, job.ablation)

    from rich.console import Console

    from drmn.experiment.train_command import data_options
    from drmn.prepare.job import FeatureRequest
    from drmn.report.say import say
    from drmn.report.terminal import repaired, run_summary
    from drmn.search import driver
    from drmn.search.study.plan import FIXED, RunPlan
    from drmn.search.study.services import check_services, require_resumable

    console = Console()
    changed = overridden(given(), flatten(config), f"--ablation {job.ablation}")
    unused = notes(given(), values_of(replace(job, config=config)), flatten(RunConfig()))
    for note in (*changed, *unused):
        say(console, note)
    plan = RunPlan(
        dataset=job.dataset,
        base=config,
        folder=folder,
        tracking_uri=job.tracking_uri,
        storage=job.storage,
        resources=job.resources,
        pictures=job.pictures,
        policy=replace(FIXED, objective=job.objective),
        data=data_options(job),
    )
    require_resumable(plan)
    check_services(job.storage, job.tracking_uri, console)  # before features are made
    gpus = job.resources.gpus
    request = FeatureRequest.of(job, fold=config.fold, gpus=gpus, for_trials=True)
    outcome, *_ = repaired(console, request, lambda *given: driver.train(plan, console, *given))
    run_summary(console, outcome, folder, job.tracking_uri, plan.experiment)
    write_json(job.json, outcome.plain())


def look_after(job: TrainJob, modes: Sequence[str], name: str) -> None:
    """Show the status of a run, compare its files with their digests, or stop it."""
    from drmn.report.look_after import Look, look_after, require_used

    require_used(modes, given(), LOOKS)
    look_after(modes, Look(job.results / "runs", name, job.storage), job.json)


if __name__ == "__main__":
    run_job(main, TrainJob, COMMON)

"""Search for the best settings on one dataset. The same command resumes it.

python jobs/tune.py --dataset demo                          # minutes on a laptop, no data needed
python jobs/tune.py --dataset cub --data-root ~/data        # the official files
python jobs/tune.py --dataset cub --data-root ~/data --budget.trials 60   # resume, to more trials
python jobs/tune.py --list                                  # the studies there are
python jobs/tune.py --dataset cub --hdf5 feature_map_ResNet_101_CUB.hdf5 --data-root ~/data
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from drmn.cli import Dataset, require_dataset, require_place, run, write_json
from drmn.cluster.resources import ResourceConfig
from drmn.config import RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.errors import ConfigError
from drmn.experiment.config import NO_PICTURES, PicturesConfig, require_name
from drmn.fields import flatten
from drmn.search.config import Budget, PolicyConfig
from drmn.tracking.uri import default_store

if TYPE_CHECKING:
    from drmn.prepare.job import FeatureRequest
    from drmn.search.study.plan import StudyPlan

COMMON = {
    "Data": ("--dataset", "--data-root", "--backbone", "--image-size", "--levels", "--hdf5"),
    "Search": (
        *("--space", "--study", "--budget.trials", "--budget.minutes", "--budget.worker-hours"),
        *("--policy.objective", "--policy.sampler", "--policy.pruner", "--policy.finetune"),
        *("--warm-start", "--fork"),
    ),
    "Workers": ("--backend", "--budget.at-once", "--workers", "--cpus", "--gpus"),
    "Where": ("--results", "--storage", "--tracking-uri", "--json"),
    "Look after studies": ("--plan", "--list", "--status", "--stop", "--replay"),
}
"""The options in the short help."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneJob:
    """Search for the best settings on one dataset. The same command resumes it."""

    dataset: Dataset = ""
    data_root: str = "data"
    """Folder or s3:// URI with xlsa17/ and the images. The demo needs none."""
    space: str = ""
    """Search space: a name in search_spaces/ or a Python file. By default the dataset's own, or
    "imported" with --hdf5."""
    study: str = ""
    """Name of the study. By default the space's. One that exists is resumed."""
    fork: str = ""
    """Start a new study that learns from this one's trials. For other settings, space or code."""
    warm_start: str = ""
    """Try the best settings of this study, or of a JSON file, first."""
    plan: bool = False
    """Forecast time, disk and cost of the search. Start nothing."""
    list: bool = False
    """List the studies."""
    status: bool = False
    """Show the trials of --study, its best value and its driver."""
    replay: bool = False
    """Check that the record of --study gives the same choices again."""
    stop: bool = False
    """Stop the driver of --study on this machine. The same command resumes it."""
    budget: Budget = field(default_factory=Budget)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    base: Annotated[RunConfig, tyro.conf.FlagConversionOff, tyro.conf.arg(name="")] = field(
        default_factory=RunConfig
    )
    """Where the search starts: the first trial, and all that the space leaves alone."""
    features: Annotated[FeatureConfig, tyro.conf.arg(name="")] = field(
        default_factory=FeatureConfig
    )
    pictures: PicturesConfig = field(default_factory=lambda: NO_PICTURES)
    resources: Annotated[ResourceConfig, tyro.conf.arg(name="")] = field(
        default_factory=ResourceConfig
    )
    results: Path = Path("results")
    """Folder of features, studies, runs and figures."""
    storage: str = ""
    """PostgreSQL that holds the record. By default a SQLite file in the study's folder does; such
    as postgresql://user@host/database, with the password in ~/.pgpass or PGPASSWORD."""
    tracking_uri: str = field(default_factory=default_store)
    """MLflow's SQLite file or server. By default that of MLFLOW_TRACKING_URI."""
    figures: bool = True
    """Draw the study's figures, while it runs and at its end."""
    json: Path | None = None
    """Write the result as JSON into this file."""


def main(job: TuneJob) -> None:
    """Prepare the features, search, and print the result; or look after the studies."""
    if job.list or job.status or job.stop or job.replay:
        look_after(job)
        return
    require_dataset(job.dataset)
    require_place(job.json)
    space = job.space or ("imported" if job.features.hdf5 else job.dataset)
    folder = study_folder(job, space)
    if job.plan or not show_again(job, space, folder):
        search(job, space, folder)


def search(job: TuneJob, space: str, folder: Path) -> None:
    """Prepare the features, then search or forecast the search."""
    from drmn.space import load
    from drmn.space_check import check_space

    check_space(
        load(space), job.base
    )  # a mistake in it is reported before anything is drawn or read

    from rich.console import Console

    from drmn.report.terminal import prepared
    from drmn.search.storage.postgres import check_connection

    console, plan, request = Console(), plan_of(job, space, folder), features_of(job)
    if job.storage:
        check_connection(job.storage)  # a server that is away is reported before features are made
    store, catalogue = prepared(console, request)
    if job.plan:
        from drmn.report.forecast_table import show_forecast

        write_json(job.json, show_forecast(console, plan, store))
        return
    from drmn.report.live_figures import LiveFigures
    from drmn.report.terminal import summary
    from drmn.search import driver

    figures = LiveFigures(folder.absolute(), job.storage, wanted=job.figures)
    outcome = driver.search(plan, store, console, catalogue, figures)
    write_json(job.json, outcome.plain())
    page = Console(record=True)
    summary(page, outcome, job.tracking_uri, job.dataset)
    if outcome.settled and not job.storage:
        said = [*(f"note: {note}" for note in catalogue.notes), *outcome.remarks]
        text = "".join(f"{line}\n" for line in said) + page.export_text(styles=True)
        keep(job, space, (request, store), text, outcome.plain())


def plan_of(job: TuneJob, space: str, folder: Path) -> "StudyPlan":
    """Return the search that a command line asks for."""
    from drmn.search.study.plan import StudyPlan

    return StudyPlan(
        dataset=job.dataset,
        space=space,
        base=job.base,
        policy=job.policy,
        budget=job.budget,
        folder=folder,
        tracking_uri=job.tracking_uri,
        resources=job.resources,
        pictures=job.pictures,
        storage=job.storage,
        fork=job.fork,
        warm_start=job.warm_start,
    )


def features_of(job: TuneJob) -> "FeatureRequest":
    """Return the features that a command line asks for."""
    from drmn.prepare.job import FeatureRequest

    return FeatureRequest(
        dataset=job.dataset,
        data_root=job.data_root,
        features=job.features,
        results=job.results,
        fold=job.base.fold,
        gpus=job.resources.gpus,
    )


def keep(
    job: TuneJob,
    space: str,
    features: tuple["FeatureRequest", Path],
    said: str,
    outcome: Mapping[str, Any],
) -> None:
    """Write the receipt of a finished study: its inputs, and the text that was printed."""
    from drmn.experiment import receipt
    from drmn.prepare.job import data_places, made_places

    data = [str(place) for place in data_places(features[0])]
    made = [str(place) for place in made_places(*features)]
    asks, uri = asked(job, space), job.tracking_uri
    basis = receipt.Basis(asked=asks, data=data, made=made, tracking_uri=uri)
    receipt.write(study_folder(job, space), basis, said, outcome)


def study_folder(job: TuneJob, space: str) -> Path:
    """Return the folder of a study, by its name, which by default is its space's."""
    name = job.study or Path(space).stem
    require_name("study", name)
    return job.results / "studies" / name


def asked(job: TuneJob, space: str) -> dict[str, Any]:
    """Return all settings that decide the result of a search and its printed text."""
    from drmn.space import source

    settings = {name: value for name, value in flatten(job).items() if name != "json"}
    return settings | {"space_text": source(space).read_text()}


def show_again(job: TuneJob, space: str, folder: Path) -> bool:
    """Print the receipt of a finished study if nothing has changed; return whether there is one."""
    from drmn.experiment import receipt

    found = receipt.read(folder, asked(job, space))
    if found is None:
        return False

    from rich.console import Console
    from rich.text import Text

    write_json(job.json, found.outcome)
    Console().print(Text.from_ansi(found.said), soft_wrap=True, end="")
    return True


def look_after(job: TuneJob) -> None:
    """Show the studies, or one of them, or stop it."""
    from rich.console import Console

    from drmn.report import studies

    console, folder = Console(), job.results / "studies"
    name = job.study or Path(job.space).stem or job.dataset
    if not (name or job.list):
        raise ConfigError("--study is missing: which one. --list shows them.")
    if job.stop:
        studies.stop(console, folder, name, job.storage)
    if job.list:
        studies.show(console, folder, job.storage)
    if job.status:
        studies.status(console, folder, name, job.storage)
    if job.replay:
        studies.replay(console, folder, name, job.space, job.storage)


if __name__ == "__main__":
    run(main, TuneJob, COMMON)

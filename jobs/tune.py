"""Search for the best settings on one dataset. The same command resumes it.

python jobs/tune.py --dataset demo                          # minutes on a laptop, no data needed
python jobs/tune.py --dataset cub --data-root ~/data        # the official files
python jobs/tune.py --dataset cub --data-root ~/data --budget.trials 60   # resume, to more trials
python jobs/tune.py --list                                  # the studies there are
python jobs/tune.py --dataset cub --hdf5 feature_map_ResNet_101_CUB.hdf5 --data-root ~/data
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from drmn.cli import (
    Dataset,
    given,
    require_dataset,
    require_place,
    require_used_features,
    run,
    write_json,
)
from drmn.cluster.resources import ResourceConfig
from drmn.config import RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.errors import ConfigError
from drmn.experiment.config import NO_PICTURES, PicturesConfig, require_name
from drmn.fields import flatten
from drmn.report.finished import show_again
from drmn.search.config import Budget, PolicyConfig
from drmn.tracking.uri import default_store
from drmn.unused import values_of

if TYPE_CHECKING:
    from rich.console import Console

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
ONE = ("study", "space", "dataset")
LOOKS = {"stop": ONE, "list": ("study",), "status": ONE, "verify": ONE, "replay": ONE}
"""Modes that look after studies, in their order, and the options that name the study of each."""


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
    verify: bool = False
    """Compare the files that --study keeps with their digests."""
    replay: bool = False
    """Check that the record of --study gives the same choices again."""
    stop: bool = False
    """Stop the driver of --study on this machine. The same command resumes it."""
    budget: Budget = field(default_factory=Budget)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    base: Annotated[RunConfig, tyro.conf.FlagConversionOff, tyro.conf.arg(name="")] = field(
        default_factory=RunConfig
    )
    """Settings of every trial. One that is given here wins over the space; the rest is where the
    search starts."""
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
    require_place(job.json)
    if modes := [name for name in LOOKS if getattr(job, name)]:
        look_after(job, modes)
        return
    require_dataset(job.dataset)
    require_used_features(job.features.hdf5, job.dataset)
    space = job.space or ("imported" if job.features.hdf5 else job.dataset)
    folder = study_folder(job, space)
    if job.plan or not show_again(folder, asked(job, space), job.json):
        search(job, space, folder)


def search(job: TuneJob, space: str, folder: Path) -> None:
    """Prepare the features, then search or forecast the search."""
    from rich.console import Console

    console = Console()
    kept = checked_space(job, space, console)  # before anything is drawn or read

    from drmn.prepare.job import FeatureRequest
    from drmn.report.terminal import prepared, repaired, summary
    from drmn.search.study.services import check_services, require_resumable

    plan = plan_of(job, space, folder)
    gpus, trials = job.resources.gpus, not job.plan  # a plan starts none
    request = FeatureRequest.of(job, fold=job.base.fold, gpus=gpus, for_trials=trials)
    if job.plan:
        from drmn.report.forecast_table import show_forecast

        write_json(job.json, show_forecast(console, plan, prepared(console, request)[0]))
        return
    require_resumable(plan)  # these two before features are made
    check_services(job.storage, job.tracking_uri, console)
    from drmn.report.finished import keep
    from drmn.report.live_figures import LiveFigures
    from drmn.search import driver

    figures = LiveFigures(folder.absolute(), job.storage, wanted=job.figures)
    outcome, store, catalogue = repaired(
        console, request, lambda *given: driver.search(plan, console, figures, *given)
    )
    page = Console(record=True)
    try:
        summary(page, outcome, job.tracking_uri, plan.experiment)
    finally:
        write_json(job.json, outcome.plain())
    if outcome.settled and not job.storage:
        said = [*kept, *(f"note: {note}" for note in catalogue.notes), *outcome.remarks]
        text = "\n".join([*said, page.export_text(styles=True)])
        keep(folder, asked(job, space), (request, store), text, outcome.plain())


def checked_space(job: TuneJob, space: str, console: "Console") -> list[str]:
    """Print, and return, the notes on settings that the space decides too, or that have no effect.

    Raises:
        ConfigError: Some point of the space, with these settings, is no valid run.
    """
    from drmn.report.say import say
    from drmn.search.study.given_settings import checked
    from drmn.space import load

    notes = checked(load(space), job.base, given_settings(job), given(), values_of(job))
    for note in notes:
        say(console, note)
    return notes


def plan_of(job: TuneJob, space: str, folder: Path) -> "StudyPlan":
    """Return the search that a command line asks for."""
    from drmn.experiment.train_command import data_options
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
        given=given_settings(job),
        data=data_options(job),
    )


def given_settings(job: TuneJob) -> dict[str, Any]:
    """Return the settings of a run that were given on the command line."""
    return {name: value for name, value in flatten(job.base).items() if name in given()}


def study_folder(job: TuneJob, space: str) -> Path:
    """Return the folder of a study, by its name, which by default is its space's."""
    name = job.study or Path(space).stem
    require_name("study", name)
    return job.results / "studies" / name


def asked(job: TuneJob, space: str) -> dict[str, Any]:
    """Return all settings that decide the result of a search and its printed text."""
    from drmn.space import source

    more = {"space_text": source(space).read_text(), "given": sorted(given_settings(job))}
    return {name: value for name, value in flatten(job).items() if name != "json"} | more


def look_after(job: TuneJob, modes: Sequence[str]) -> None:
    """Show the studies, or one of them, or stop it."""
    from drmn.report.look_after import Look, look_after, require_used

    require_used(modes, given(), LOOKS)
    name = job.study or Path(job.space).stem or job.dataset
    if not name and set(modes) - {"list"}:
        raise ConfigError("--study is missing: which one. --list shows them.")
    look = Look(job.results / "studies", name, job.storage, space=job.space, only=job.study)
    look_after(modes, look, job.json)


if __name__ == "__main__":
    run(main, TuneJob, COMMON)

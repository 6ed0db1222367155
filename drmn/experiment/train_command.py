"""The command line of `jobs/train.py` that trains a trial again, to the same numbers."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from drmn.cluster.resources import ResourceConfig
from drmn.data.feature_config import FeatureConfig
from drmn.fields import flatten
from drmn.flags import flag

Options = Mapping[str, Any]
"""Options of `jobs/train.py` that are no settings of the network, by name."""
ALWAYS = ("backbone", "levels")
"""Settings of a backbone's features that a command names though they are the defaults."""
RESOURCES = ("workers", "max_workers", "cpus", "gpus")
"""Resources that change sums by rounding, and so are part of a command."""
RESULTS = Path("results")
"""Default of `--results`."""


@runtime_checkable
class DataJob(Protocol):
    """A job that works on the features of a dataset: its settings of them."""

    @property
    def dataset(self) -> str:
        """Name of the dataset."""

    @property
    def data_root(self) -> str:
        """Folder of its files."""

    @property
    def features(self) -> FeatureConfig:
        """Features that are made of it."""

    @property
    def resources(self) -> ResourceConfig:
        """Workers that train on them."""

    @property
    def results(self) -> Path:
        """Folder of results."""

    @property
    def storage(self) -> str:
        """PostgreSQL of the record; empty if a folder has it."""


def data_options(job: DataJob) -> dict[str, Any]:
    """Return the options that name the data, features, workers, results and record of a job."""
    features = job.features
    found: dict[str, Any] = {"dataset": job.dataset}
    if job.dataset != "demo":  # which is rendered
        found["data_root"] = job.data_root
    if job.results != RESULTS:
        found["results"] = str(job.results)
    if job.storage:
        found["storage"] = job.storage
    made, plain = flatten(features), flatten(FeatureConfig())
    always = () if features.hdf5 else ALWAYS
    found |= {name: made[name] for name in made if name in always or made[name] != plain[name]}
    asked, one = flatten(job.resources), flatten(ResourceConfig())
    return found | {name: asked[name] for name in RESOURCES if asked[name] != one[name]}


def arguments(options: Options, settings: Mapping[str, Any]) -> list[str]:
    """Return the arguments of `jobs/train.py` for these options and settings of a run.

    Defaults are among them: in a later version they may be others.
    """
    every = {**options, **settings}
    return [text for name, value in every.items() for text in (flag(name), str(value))]


def command(texts: Iterable[str], program: str = "python jobs/train.py") -> str:
    """Return a command line for a shell, of the arguments of the job."""
    return f"{program} {shlex.join(texts)}"


def run_name(study: str, trial: int) -> str:
    """Return the name of the run that trains a trial again."""
    return f"{study}-{trial:03d}"

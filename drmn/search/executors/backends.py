"""Backends: the processes that train Ray Tune's trials (docs/search.md)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import ray
from ray import tune

from drmn.cluster.connect import node_resources, trial_slots
from drmn.cluster.resources import ResourceConfig
from drmn.experiment.trial_task import TrialTask
from drmn.search.executors.in_process_trainable import InProcessTrainable
from drmn.search.executors.pool_trainable import HEAD, PoolTrainable
from drmn.search.executors.tune_memory import TaskRef


@runtime_checkable
class Backend(Protocol):
    """The processes that train trials."""

    trainable: Any
    """Tune's trainable, with the resources of a trial."""
    at_once: int
    """Trials that run in parallel."""

    @property
    def problem(self) -> str:
        """Why no trial can be run any more; empty as long as one can."""

    def trial_config(self, name: str, task: TrialTask) -> Mapping[str, Any]:
        """Return the configuration that Tune passes to a trial."""

    def on_trial_end(self, name: str) -> None:
        """Handle a trial that Tune has finished with."""


@dataclass
class InProcessBackend:
    """Tune's own processes train, and are reused (`reuse_actors`)."""

    made: ResourceConfig
    at_once: int
    problem: str = ""

    def __post_init__(self) -> None:
        """Give each trial its cores and GPUs."""
        self.trainable = tune.with_resources(
            InProcessTrainable, {"CPU": self.made.cpus, "GPU": self.made.gpus}
        )

    def trial_config(self, name: str, task: TrialTask) -> Mapping[str, Any]:
        """Return the configuration that Tune passes to a trial."""
        del name
        return {"task": TaskRef(task)}

    def on_trial_end(self, name: str) -> None:
        """Do nothing: the process that trained it has nothing more to do."""


class WorkerGroupBackend:
    """Worker groups of Ray Train train; Tune's trials wait for their results."""

    def __init__(self, groups: Any) -> None:
        self.groups, self.at_once = groups, groups.shape.groups
        self.trainable = tune.with_resources(PoolTrainable, HEAD)

    @property
    def problem(self) -> str:
        """Why no trial can be run any more; empty as long as one can."""
        return self.groups.problem

    def trial_config(self, name: str, task: TrialTask) -> Mapping[str, Any]:
        """Return the configuration that Tune passes to a trial."""
        return {"name": name, "task": TaskRef(task), "board": self.groups.board}

    def on_trial_end(self, name: str) -> None:
        """Free the group that has the trial for another.

        Tune keeps the trial's process for a later trial and does not notify it before that. With
        fewer groups than trials, as one was lost, the later trial may be waiting for this group.
        """
        self.groups.board.leave.remote(name)


@contextmanager
def _open_in_process(asked: ResourceConfig, at_once: int, folder: Path) -> Iterator[Backend]:
    del folder
    yield InProcessBackend(asked, at_once)


@contextmanager
def _open_groups(
    asked: ResourceConfig, at_once: int, folder: Path, *, once: bool
) -> Iterator[Backend]:
    from drmn.search.executors.worker_groups import (  # noqa: PLC0415 - Ray Train with it: a second
        GroupConfig,
        WorkerGroups,
    )

    groups = WorkerGroups(
        GroupConfig(
            groups=at_once,
            min_workers=asked.workers,
            max_workers=asked.largest_group,
            cpus=asked.cpus,
            gpus=asked.gpus,
            once=once,
            folder=folder,
        )
    )
    yield WorkerGroupBackend(groups)
    groups.close()  # not after an error: they end with Ray then, without a wait


Open = Callable[[ResourceConfig, int, Path], AbstractContextManager[Backend]]
"""Opens a backend with the resources, the number of parallel trials, and a folder for Ray."""

BACKENDS: Mapping[str, Open] = {
    "inproc": _open_in_process,
    "pool": partial(_open_groups, once=False),
    "trial": partial(_open_groups, once=True),
}
"""The backends of `--backend`; `auto` chooses one of them."""


def open_backend(
    asked: ResourceConfig, at_once: int, folder: Path
) -> AbstractContextManager[Backend]:
    """Return a backend for a `with` block. Needs a `ray_session`.

    Args:
        asked: The backend, and its resources.
        at_once: Maximum number of parallel trials; 0 for as many as the cluster holds.
        folder: Folder for Ray's own files.

    Raises:
        ConfigError: The cluster is too small for one trial.
    """
    return BACKENDS[resolve(asked)](asked, trial_slots(asked, at_once), folder)


def resolve(asked: ResourceConfig) -> str:
    """Return the backend: on one machine with one worker per trial, inproc is the fastest."""
    if asked.backend != "auto":
        return asked.backend
    return "pool" if asked.largest_group > 1 or len(node_resources(ray.nodes())) > 1 else "inproc"

"""The engines: who trains what Ray Tune's trials stand for (docs/search.md)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import tune

from drmn.cluster.connect import nodes, places
from drmn.cluster.resources import EngineConfig
from drmn.experiment.trial_task import Task
from drmn.search.executors.in_process_trainable import TrialRunner
from drmn.search.executors.pool_trainable import HEAD, PooledTrial
from drmn.search.executors.tune_memory import Handed
from drmn.search.executors.worker_groups import Groups, Shape


class Engine(Protocol):
    """What runs trials."""

    trainable: Any
    """For Tune, with what a trial of it holds."""
    at_once: int
    """Trials that run at a time."""

    @property
    def problem(self) -> str:
        """Why no trial can be run any more; empty as long as one can."""

    def config(self, name: str, task: Task) -> Mapping[str, Any]:
        """Return what Tune hands to a trial."""

    def over(self, name: str) -> None:
        """Hear that Tune is done with a trial."""


@dataclass
class InProcess:
    """Tune's own processes train, and are used again (`reuse_actors`)."""

    made: EngineConfig
    at_once: int
    problem: str = ""

    def __post_init__(self) -> None:
        """Give each trial its cores and GPUs."""
        self.trainable = tune.with_resources(
            TrialRunner, {"CPU": self.made.cpus, "GPU": self.made.gpus}
        )

    def config(self, name: str, task: Task) -> Mapping[str, Any]:
        """Return what Tune hands to a trial."""
        del name
        return {"task": Handed(task)}

    def over(self, name: str) -> None:
        """Do nothing: the process that trained it has nothing more to do."""


class InGroups:
    """Groups of workers of Ray Train train; Tune's trials ask them."""

    def __init__(self, groups: Groups) -> None:
        self.groups, self.at_once = groups, groups.shape.groups
        self.trainable = tune.with_resources(PooledTrial, HEAD)

    @property
    def problem(self) -> str:
        """Why no trial can be run any more; empty as long as one can."""
        return self.groups.problem

    def config(self, name: str, task: Task) -> Mapping[str, Any]:
        """Return what Tune hands to a trial."""
        return {"name": name, "task": Handed(task), "board": self.groups.board}

    def over(self, name: str) -> None:
        """Let the group that has the trial go on to another.

        Tune keeps the trial's process for a later one, and says nothing to it until there is one:
        where there are fewer groups than trials, as one was lost, that one may wait for this group.
        """
        self.groups.board.leave.remote(name)


@contextmanager
def engine(asked: EngineConfig, at_once: int, folder: Path) -> Iterator[Engine]:
    """Return an engine for a `with` block. Needs a `cluster`.

    Args:
        asked: Which, and how large.
        at_once: The most trials at a time; 0 for as many as the cluster holds.
        folder: For Ray's own notes.

    Raises:
        ConfigError: The cluster has no room for one trial.
    """
    most = places(asked, at_once)
    if chosen(asked) == "inproc":
        yield InProcess(asked, most)
        return
    groups = Groups(
        Shape(
            groups=most,
            workers=asked.workers,
            cpus=asked.cpus,
            gpus=asked.gpus,
            once=chosen(asked) == "trial",
            folder=folder,
        )
    )
    yield InGroups(groups)
    groups.close()  # not after an error: Ray's end is theirs then, and nobody has to wait


def chosen(asked: EngineConfig) -> str:
    """Return the engine: on one machine, and for one worker a trial, none is faster than inproc."""
    if asked.engine != "auto":
        return asked.engine
    return "pool" if asked.workers > 1 or len(nodes(ray.nodes())) > 1 else "inproc"

"""Workers, cores and GPUs that a job asks of a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from drmn.config import require, require_one_of
from drmn.errors import ConfigError

BackendName = Literal["auto", "inproc", "pool", "trial"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceConfig:
    """Who trains the trials of a search. Results do not depend on it, but for rounding."""

    backend: BackendName = "auto"
    """Who trains the trials: auto, inproc, pool or trial. inproc: Ray Tune's processes, reused from
    trial to trial. pool: long-lived Ray Train worker groups that take one trial after another.
    trial: a new worker group for each trial, for few and long ones. auto: inproc on one machine,
    else pool."""
    workers: int = 1
    """Workers that train one trial together. More than one needs pool or trial."""
    cpus: float = 1
    """Cores of each worker."""
    gpus: float = 0
    """GPUs of each worker. A fraction shares one, without isolating memory."""
    system_metrics: bool = False
    """Log cores, memory and GPU of the first worker's machine to MLflow at each epoch."""

    def __post_init__(self) -> None:
        """Check each value."""
        require_one_of("backend", self.backend, BackendName)
        require("workers", self.workers, self.workers > 0, "positive")
        alone = self.workers == 1 or self.backend != "inproc"
        require("workers", self.workers, alone, "1 with --backend inproc; use pool or trial")
        require("cpus", self.cpus, self.cpus > 0, "positive")
        require("gpus", self.gpus, self.gpus >= 0, "0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerGroupConfig:
    """The workers of a run."""

    least: int = 1
    most: int = 1
    """As many as the cluster has room for between the two; the batch is the same with any."""
    cpus: float = 1
    gpus: float = 0
    """Of each worker."""
    failures: int = 3
    """How often workers may be lost before the run gives up."""

    def __post_init__(self) -> None:
        """Check each value."""
        require("workers", self.least, self.least > 0, "positive")
        require("cpus", self.cpus, self.cpus > 0, "positive")
        require("gpus", self.gpus, self.gpus >= 0, "0 or more")
        require("failures", self.failures, self.failures >= 0, "0 or more")

    def check(self, have: Mapping[str, float]) -> None:
        """Raise `ConfigError` if a cluster with these resources has no room for the least."""
        for name, each in {"CPU": self.cpus, "GPU": self.gpus}.items():
            need, there = self.least * each, have.get(name, 0)
            if need > there:
                raise ConfigError(
                    f"--workers {self.least}: they need {need:g} {name}s and the cluster has "
                    f"{there:g}; use fewer, or --{name.lower()}s below {each:g}."
                )

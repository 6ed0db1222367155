"""Workers, cores and GPUs that a job asks of a cluster."""

from dataclasses import dataclass
from typing import Literal

from drmn.fields import require, require_one_of

BackendName = Literal["auto", "inproc", "pool", "trial"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceConfig:
    """Processes that train trials. Results do not depend on it, but for rounding."""

    backend: BackendName = "auto"
    """Backend of the trials: auto, inproc, pool or trial. inproc: Ray Tune's processes, reused from
    trial to trial. pool: long-lived Ray Train worker groups that take one trial after another.
    trial: a new worker group for each trial, for few and long ones. auto: inproc on one machine,
    else pool."""
    workers: int = 1
    """Workers that train one trial together; each takes its share of every batch. More than one
    needs pool or trial."""
    max_workers: int = 0
    """Most workers of a trial, where the cluster has room. After a loss fewer continue; 0 for as
    many as --workers."""
    cpus: float = 1
    """Cores of each worker."""
    gpus: float = 0
    """GPUs of each worker. A fraction shares one, without isolating memory."""
    failures: int = 3
    """How often a trial may lose its workers, lost machines not counted, before it fails."""
    stall_minutes: float = 10
    """Minutes without a step after which a trial is taken to hang, or 20 times its longest pause if
    that is more. Its process is ended, the stacks of its threads are kept, and it resumes; the
    second time it fails. 0 for never."""
    system_metrics: bool = False
    """Log cores, memory and GPU of the first worker's machine to MLflow at each epoch."""

    def __post_init__(self) -> None:
        """Check each value."""
        require_one_of("backend", self.backend, BackendName)
        require("workers", self.workers, self.workers > 0, "positive")
        ok = self.max_workers == 0 or self.max_workers >= self.workers
        require("max_workers", self.max_workers, ok, f"0 or at least --workers {self.workers}")
        alone = self.largest_group == 1 or self.backend != "inproc"
        require("workers", self.largest_group, alone, "1 with --backend inproc; use pool or trial")
        require("cpus", self.cpus, self.cpus > 0, "positive")
        require("gpus", self.gpus, self.gpus >= 0, "0 or more")
        require("failures", self.failures, self.failures >= 0, "0 or more")
        require("stall_minutes", self.stall_minutes, self.stall_minutes >= 0, "0 or more")

    @property
    def largest_group(self) -> int:
        """Maximum number of workers that train one trial together."""
        return max(self.workers, self.max_workers)

"""Groups of workers of Ray Train, which run the trials that the board has."""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.train import FailureConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.callback import UserCallback

from drmn.cluster import preemption
from drmn.cluster.connect import alive_node_ids
from drmn.errors import last_line
from drmn.search.executors.trial_queue import TrialQueue

MAX_WORKER_LOSSES = 10
"""How often a group may lose workers, or see a trial raise, until it is made anew as a whole."""
DRAIN_TIMEOUT_S = 30.0
"""Seconds that groups are given to end."""
NODE_POLL_INTERVAL_S = 2.0
"""Seconds between two looks at which machines there are."""
MAX_FAILED_STARTS = 3
"""How often in a row that may be without that any worker came as far as taking a trial."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupConfig:
    """What groups there are."""

    groups: int
    min_workers: int
    max_workers: int
    """Of each group: as many as the cluster has room for between the two."""
    cpus: float
    gpus: float
    """Of each worker."""
    once: bool
    """Begin a group for each trial (backend `trial`), or keep it (backend `pool`)?"""
    folder: Path
    """For Ray Train's own notes."""


def worker_loop(given: dict[str, Any]) -> None:
    """Run trials, as one worker of a group, until the board has no more."""
    board, crew = given["board"], given["crew"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    here = ray.get_runtime_context()
    process, node = here.get_actor_id(), here.get_node_id()
    device = str(ray.train.torch.get_device())
    while True:
        taken = ray.get(board.take.remote(crew, rank, world, process, node))
        if taken is None:
            return
        name, task = taken
        try:
            for count, told in enumerate(task.epochs(device, preemption.notice_to_group()), 1):
                if not ray.get(board.tell.remote(crew, name, rank, count, told)):
                    break
        except Exception as problem:
            ray.get(board.fail.remote(crew, name, problem))
            raise  # the process is not used again: who knows what it is left with
        if given["once"]:
            return


class WorkerLossCallback(UserCallback):
    """Tells the board, from Ray Train's controller, that a group lost a worker."""

    def __init__(self, board: Any, crew: int) -> None:
        self.board, self.crew = board, crew

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Give the group's trial back at once: to begin the group anew takes its time."""
        del run_context
        cause = last_line(next(iter(worker_exceptions.values())))
        ray.get(self.board.lost.remote(self.crew, cause))


class WorkerGroups:
    """Groups at work, in threads of the driver. Needs a `cluster`."""

    def __init__(self, shape: GroupConfig) -> None:
        self.shape = shape
        # Each worker and each trial waits in a call of its own.
        most = 2 * shape.groups * (shape.max_workers + 2) + 8
        # On the head, as the driver: a machine that trains may go, and the board with it.
        here = {"node:__internal_head__": 0.001}
        board = ray.remote(TrialQueue).options(num_cpus=0, resources=here, max_concurrency=most)
        self.board: Any = board.remote()
        self.dead: list[str] = []
        """Why groups cannot be begun any more."""
        self.threads = [
            # Daemons: after Ctrl-C nobody waits for them, and Ray's end is theirs.
            threading.Thread(target=self._run, args=(crew,), daemon=True)
            for crew in range(shape.groups)
        ]
        self.threads.append(threading.Thread(target=self._watch, daemon=True))
        for thread in self.threads:
            thread.start()

    @property
    def problem(self) -> str:
        """Why no trial can be run any more; empty as long as one can."""
        return self.dead[-1] if len(self.dead) == self.shape.groups else ""

    def close(self) -> None:
        """Send the workers home and wait until they are gone; not for a group that never began."""
        ray.get(self.board.close.remote())
        until = time.monotonic() + DRAIN_TIMEOUT_S
        for thread in self.threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _watch(self) -> None:
        """Tell the board which machines there are, as long as there is a cluster."""
        try:
            while not ray.get(self.board.over.remote()):
                ray.get(self.board.there.remote(alive_node_ids()))
                time.sleep(NODE_POLL_INTERVAL_S)
        except Exception:
            if ray.is_initialized():
                raise

    def _run(self, crew: int) -> None:
        """Keep a group at work as long as there is a cluster."""
        try:
            self._keep(crew)
        except Exception:
            if ray.is_initialized():
                raise

    def _keep(self, crew: int) -> None:
        """Keep one group at work: that of this number."""
        board, failed = self.board, 0
        while (
            ray.get(board.work.remote(crew))
            if self.shape.once
            else not ray.get(board.over.remote())
        ):
            before = ray.get(board.begun.remote())
            try:
                self._trainer(crew).fit()
            except Exception as problem:  # noqa: BLE001 - whatever it is, trials go elsewhere
                cause = last_line(problem)
                ray.get(board.lost.remote(crew, cause))
                failed = failed + 1 if ray.get(board.begun.remote()) == before else 0
            if failed == MAX_FAILED_STARTS:
                self.dead.append(cause)
                break
        if self.problem:
            ray.get(board.close.remote())

    def _trainer(self, crew: int) -> TorchTrainer:
        shape = self.shape
        fixed = shape.min_workers == shape.max_workers
        return TorchTrainer(
            worker_loop,
            train_loop_config={"board": self.board, "crew": crew, "once": shape.once},
            torch_config=TorchConfig(backend="nccl" if shape.gpus else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=(
                    shape.min_workers if fixed else (shape.min_workers, shape.max_workers)
                ),
                use_gpu=shape.gpus > 0,
                resources_per_worker={
                    "CPU": shape.cpus,
                    **({"GPU": shape.gpus} if shape.gpus else {}),
                },
            ),
            run_config=ray.train.RunConfig(
                name=f"group{crew}-{os.urandom(4).hex()}",  # of an old name it would resume
                storage_path=str(shape.folder.absolute()),
                failure_config=FailureConfig(
                    max_failures=0 if shape.once else MAX_WORKER_LOSSES, controller_failure_limit=3
                ),
                callbacks=[WorkerLossCallback(self.board, crew)],
                logging_config=ray.train.LoggingConfig(log_level="CRITICAL"),
            ),
        )

"""Worker groups of Ray Train, which run the trials of a `TrialQueue`."""

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.exceptions import RayError
from ray.train import FailureConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.callback import UserCallback

from drmn.cluster import preemption
from drmn.cluster.connect import alive_node_ids
from drmn.errors import last_line
from drmn.search.executors.fault import is_of_peer
from drmn.search.executors.heartbeat import train
from drmn.search.executors.memory_fault import is_out_of_memory
from drmn.search.executors.trial_queue import LostProcessError, TrialQueue

MAX_WORKER_LOSSES = 10
"""Failures of a group, lost workers and trials that raise, before a new one replaces it."""
DRAIN_TIMEOUT_S = 30.0
"""Seconds that groups are given to end."""
NODE_POLL_INTERVAL_S = 2.0
"""Seconds between two checks of which nodes are alive."""
MAX_FAILED_STARTS = 3
"""Such failures in a row without any worker taking a trial, before a group is given up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupConfig:
    """Number and size of the groups."""

    groups: int
    min_workers: int
    max_workers: int
    """Workers of each group: as many as the cluster holds, between the two."""
    cpus: float
    gpus: float
    """GPUs of each worker."""
    once: bool
    """Whether each trial gets a new group (backend `trial`); otherwise it is kept (`pool`)."""
    folder: Path
    """Folder for Ray Train's own files."""


def worker_loop(given: dict[str, Any]) -> None:
    """Run trials, as one worker of a group, until the queue is closed."""
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
            stream = train(task, device, node, preemption.notice_to_group(), rank)
            for count, result in enumerate(stream, 1):
                if not ray.get(board.tell.remote(crew, name, rank, count, result)):
                    break
        except Exception as problem:
            lost = LostProcessError(last_line(problem)) if is_of_peer(problem) else problem
            ray.get(board.fail.remote(crew, name, lost))
            raise  # the process is not reused: its state is unknown
        if given["once"]:
            return


class WorkerLossCallback(UserCallback):
    """Reports to the queue, from Ray Train's controller, that a group lost a worker."""

    def __init__(self, board: Any, crew: int) -> None:
        self.board, self.crew = board, crew

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Give the group's trial back at once: restarting the group takes a while."""
        del run_context
        cause = last_line(next(iter(worker_exceptions.values())))
        memory = any(is_out_of_memory(each) for each in worker_exceptions.values())
        ray.get(self.board.lost.remote(self.crew, cause, memory=memory))


class WorkerGroups:
    """Running groups, each in a thread of the driver. Needs a `ray_session`."""

    def __init__(self, shape: GroupConfig) -> None:
        self.shape = shape
        # Each worker and each trial waits in a separate call.
        most = 2 * shape.groups * (shape.max_workers + 2) + 8
        # On the head, as the driver: a machine that trains may be lost, and the queue with it.
        here = {"node:__internal_head__": 0.001}
        board = ray.remote(TrialQueue).options(num_cpus=0, resources=here, max_concurrency=most)
        self.board: Any = board.remote()
        self.dead: list[str] = []
        """Why groups were given up, one line for each."""
        self.threads = [
            # Daemons: after Ctrl-C nothing waits for them, and they end with Ray.
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
        """Close the queue and wait for the workers to end, at most `DRAIN_TIMEOUT_S` in all."""
        with suppress(RayError):  # its process may have died
            ray.get(self.board.close.remote())
        until = time.monotonic() + DRAIN_TIMEOUT_S
        for thread in self.threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _watch(self) -> None:
        """Report the live nodes to the queue, as long as there is a cluster."""
        try:
            while not ray.get(self.board.over.remote()):
                ray.get(self.board.there.remote(alive_node_ids()))
                time.sleep(NODE_POLL_INTERVAL_S)
        except RayError:
            return  # the queue died, or all of Ray: trials and the driver find that out themselves
        except Exception:
            if ray.is_initialized():
                raise

    def _run(self, crew: int) -> None:
        """Keep a group running as long as there is a cluster."""
        try:
            self._keep(crew)
        except RayError:
            return  # as in `_watch`
        except Exception:
            if ray.is_initialized():
                raise

    def _keep(self, crew: int) -> None:
        """Keep group number `crew` running."""
        board, failed = self.board, 0
        while (
            ray.get(board.work.remote(crew))
            if self.shape.once
            else not ray.get(board.over.remote())
        ):
            before = ray.get(board.starts.remote())
            try:
                self._trainer(crew).fit()
            except Exception as problem:  # noqa: BLE001 - whatever it is, trials go elsewhere
                cause = last_line(problem)
                ray.get(board.lost.remote(crew, cause))
                failed = failed + 1 if ray.get(board.starts.remote()) == before else 0
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

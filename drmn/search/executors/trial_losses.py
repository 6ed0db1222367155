"""Trials that lose their process: why, and whether they run again."""

import logging
import time
from typing import TypeAlias

from ray.exceptions import RayActorError

from drmn.cluster.connect import alive_node_ids, reachable_node_ids
from drmn.errors import last_line
from drmn.experiment.trial_checkpoints import StaleWriterError, trial_folder
from drmn.search.executors.config import ExecutorConfig
from drmn.search.executors.hang_watch import HangWatch
from drmn.search.executors.memory_fault import is_out_of_memory
from drmn.search.executors.trial_queue import LostProcessError, ResizedGroupError
from drmn.search.storage import disk_full
from drmn.search.study.record import StudyRecord
from drmn.search.trial_summary import HUNG, LOST, MEMORY, MOVED
from drmn.training.stop import TrialPreemptedError

LostTrialError: TypeAlias = (
    RayActorError | LostProcessError | StaleWriterError | TrialPreemptedError
)
"""Errors by which a trial shows that it lost its process: it is resumed elsewhere."""

NODE_TIMEOUT_S = 5.0
"""Seconds that a machine has to be gone after the processes on it."""
NODE_POLL_INTERVAL_S = 0.5

log = logging.getLogger(__name__)


class TrialLosses:
    """Classifies the losses of trials and requeues these.

    Args:
        record: The study's record, which counts the losses of each trial.
        work: Settings of the executor.
    """

    def __init__(self, record: StudyRecord, work: ExecutorConfig) -> None:
        self.record, self.work = record, work
        self.watch = HangWatch(60 * work.resources.stall_minutes)
        self.nodes: dict[str, frozenset[str]] = {}
        """The nodes that were alive when each of Tune's trials started."""

    def on_trial_start(self, trial_id: str, number: int) -> None:
        """Watch a trial that starts or resumes."""
        self.nodes[trial_id] = alive_node_ids()
        self.watch.on_start(trial_id, trial_folder(self.work.folder, number))

    def on_trial_end(self, trial_id: str) -> None:
        """Forget a trial that Tune has finished with."""
        self.nodes.pop(trial_id, None)
        self.watch.on_end(trial_id)

    def kind(self, trial_id: str, error: Exception | None) -> str:
        """Return how a trial lost its process, as the record counts it; empty if it did not.

        Waits for space if the disk is full.
        """
        if disk_full.is_disk_full(error):
            disk_full.wait_for_space(self.work.folder)
            return MOVED
        if is_out_of_memory(error):
            return MEMORY
        if not isinstance(error, LostTrialError):
            return ""
        if trial_id in self.watch.hanging:
            return HUNG
        if self._is_excused(trial_id, error):
            return MOVED
        return MEMORY if self.watch.kills.recent() else LOST

    def _is_excused(self, trial_id: str, error: LostTrialError) -> bool:
        """Return whether a loss does not count: preempted, resized, or on a node that is lost."""
        noticed = isinstance(error, TrialPreemptedError | ResizedGroupError)
        noticed = noticed or getattr(error, "preempted", False)
        return noticed or self._lost_a_node(self.nodes[trial_id])

    def _lost_a_node(self, before: frozenset[str]) -> bool:
        """Return whether one of these nodes is gone; its processes are seen to be gone before it.

        Waits a moment for that, unless the search has one machine alone.
        """
        until = time.monotonic() + (NODE_TIMEOUT_S if len(before) > 1 else 0)
        while not before - reachable_node_ids():
            if time.monotonic() >= until:
                return False
            time.sleep(NODE_POLL_INTERVAL_S)
        return True

    def requeue(self, number: int, trial_id: str, kind: str, error: Exception | None) -> str:
        """Requeue a trial; return why it fails, if it has lost its process too often."""
        if kind == MEMORY:
            return self._requeue_smaller(number, error)
        if self.record.requeue(number, kind):
            return ""
        if kind == HUNG:
            return f"hung twice (--stall-minutes): {self.watch.hanging[trial_id]}"
        times = self.record.max_failures + 1
        return f"lost its workers {times} times (--failures): {_said(error)}"

    def _requeue_smaller(self, number: int, error: Exception | None) -> str:
        micro = self.record.requeue_smaller(number, self.work.resources.largest_group)
        if not micro:
            return f"out of memory, and no retry with a smaller micro-batch is left: {_said(error)}"
        log.warning(
            "trial %d: out of memory (%s); it resumes with --compute.micro-batch %d, in batches as "
            "large as before.",
            *(number, _said(error), micro),
        )
        return ""


def _said(error: Exception | None) -> str:
    return "no error" if error is None else last_line(error).rstrip(".")

"""Preemption notice of a machine.

When `ray start --block` gets SIGTERM, as Kubernetes sends it, Ray drains the node first: it gets no
more work, and what runs there has some time left (RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S).
"""

import threading
import time
from functools import cache
from itertools import count

import ray
import ray.train
from ray._private.state import state

from drmn.training.stop import ShouldStop

NOTICE_INTERVAL_S = 1.0
"""Seconds between two polls for machines that are being preempted."""
STEPS_BETWEEN_POLLS = 4
"""Steps of a group between two polls, each of which its workers synchronise for."""


@cache
def notice_here() -> threading.Event:
    """Return an event that is set once this process's machine is being preempted."""
    event, node = threading.Event(), ray.get_runtime_context().get_node_id()
    threading.Thread(target=_watch, args=(event, node), daemon=True).start()
    return event


def _watch(event: threading.Event, node: str) -> None:
    while not event.is_set():
        time.sleep(NOTICE_INTERVAL_S)
        try:
            # There is no public way that does without Ray's dashboard.
            going = state.get_draining_nodes()
        except Exception:  # noqa: BLE001, S112 - a network that is away is no notice
            continue
        if node in going:
            event.set()


def notice_to_group() -> ShouldStop:
    """Return a check for a worker of a group: is the machine of any of its workers preempted?

    All workers get the same answer, as they stop after the same step or not at all.
    """
    asked = count(1)

    def going() -> bool:
        return (
            next(asked) % STEPS_BETWEEN_POLLS == 0 and ray.train.get_preemption_info() is not None
        )

    return going

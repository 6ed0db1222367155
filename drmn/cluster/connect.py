"""The Ray cluster: joined or started for a search, quietly."""

import logging
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from drmn.cluster.resources import ResourceConfig
from drmn.errors import ConfigError

# 1.25 times the speed of a training step: freed batches stay with the process (performance.md).
MALLOC = (
    "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736"
    ":glibc.malloc.top_pad=268435456:glibc.malloc.hugetlb=1"
)
# Ray starts no more than so many processes at once, by default one a core, and warns on the
# terminal of more than four times as many; those that wait for others need no core.
STARTS = {"RAY_worker_maximum_startup_concurrency": str(16 + 4 * (os.cpu_count() or 1))}


@contextmanager
def ray_session() -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine, for a `with` block."""
    for name in ("ray", "ray.tune", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a trial's error is in the record
    os.environ.update(STARTS)
    local: dict[str, Any] = {"address": "local", "include_dashboard": False}
    ray.init(
        logging_level=logging.ERROR,
        log_to_driver=False,
        runtime_env={"env_vars": {"GLIBC_TUNABLES": MALLOC}},
        **({} if os.environ.get("RAY_ADDRESS") else local),
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has put its own there
    try:
        yield
    finally:
        ray.shutdown()


def trial_slots(asked: ResourceConfig, at_once: int) -> int:
    """Return how many trials the cluster can run at a time, each of so many workers.

    A worker has to fit on one node; the rest that is left on two is no room for one more. A number
    that is asked for of a cluster that was joined holds, room or not: trials that wait are what an
    autoscaler brings machines for, and a machine that joins gets work.

    Raises:
        ConfigError: It has no room for a single trial; names what it lacks.
    """
    have = node_resources(ray.nodes())
    joined = bool(os.environ.get("RAY_ADDRESS"))
    if joined and not have:
        if at_once:
            return at_once
        raise ConfigError(
            "The cluster has no machine for trials yet: give --budget.at-once, and it starts as "
            "many as that takes."
        )
    needs = {name: need for name, need in {"CPU": asked.cpus, "GPU": asked.gpus}.items() if need}
    for name, need in needs.items():
        largest = max((node.get(name, 0.0) for node in have), default=0.0)
        if largest < need:
            raise ConfigError(
                f"--{name.lower()}s {need:g}: the largest node of the cluster has {largest:g} "
                f"{name}s."
            )
    if joined and at_once:
        return at_once
    room = sum(min(int(node.get(name, 0) // need) for name, need in needs.items()) for node in have)
    most = room // asked.workers
    if not most:
        raise ConfigError(
            f"--workers {asked.workers}: the cluster has room for {room} workers of this size; use "
            "fewer, or smaller ones."
        )
    return min(most, at_once or most)


def alive_node_ids() -> frozenset[str]:
    """Return the ids of the nodes that are there. Needs a `ray_session`."""
    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])


def node_resources(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, float]]:
    """Return the resources of each node that is alive and can run anything."""
    alive_node_ids = [node["Resources"] for node in found if node["Alive"]]
    return [
        resources for resources in alive_node_ids if resources.get("CPU") or resources.get("GPU")
    ]

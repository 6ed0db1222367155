"""Connection to a Ray cluster, joined or started for a search."""

import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from drmn.cluster.ray_watch import restart_if_ray_dies
from drmn.cluster.reachable import not_started
from drmn.cluster.resources import ResourceConfig
from drmn.errors import ConfigError

log = logging.getLogger(__name__)

# 1.25 times the speed of a training step: freed batches stay with the process (performance.md).
MALLOC = (
    "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736"
    ":glibc.malloc.top_pad=268435456:glibc.malloc.hugetlb=1"
)
QUIET = {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
"""Only our own lines are shown."""
RAY_SETTINGS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    # How often epochs are polled; 2 s by default.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",
    # How often preempted machines are polled; 5 s by default.
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1.0",
    # Worker groups wait for machines that an autoscaler brings; 60 s by default.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "1800",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # no snapshots: a study resumes from its record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the driver; the record is whole at any time
}
LOOPBACK = "127.0.0.1"
CONNECT_TIMEOUT_S = 2.0
"""Seconds that a node's raylet has to take a connection."""
STARTS = {
    # Ray starts no more than so many processes at once, by default one per core, and warns on the
    # terminal of more than four times as many; those that wait for others need no core.
    "RAY_worker_maximum_startup_concurrency": str(16 + 4 * (os.cpu_count() or 1)),
    # One per core before there is work, by default: trials are given processes of other settings.
    "RAY_prestart_worker_first_driver": "0",
}
"""How Ray starts processes on this machine."""


@contextmanager
def ray_session() -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine, for a `with` block.

    Ray reads some of its environment when it is imported: import modules that use it in the block.

    Raises:
        ConfigError: It cannot be joined, or does not start.
    """
    os.environ |= QUIET | RAY_SETTINGS | STARTS
    import ray  # noqa: PLC0415
    from ray.air._internal import usage  # noqa: PLC0415
    from ray.tune.execution import class_cache  # noqa: PLC0415

    # Tune imports MLflow, for statistics of how Ray is used: a CPU second of each search.
    usage.tag_callbacks = _not_counted
    # Tune passes AWS's keys to each trial's process, and Ray writes these variables into its log.
    class_cache.ENV_VARS_TO_PROPAGATE = {
        name for name in class_cache.ENV_VARS_TO_PROPAGATE if not name.startswith("AWS_")
    }
    for name in ("ray", "ray.tune", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a trial's error is in the record
    started: dict[str, Any] = {
        "logging_level": logging.ERROR,
        "log_to_driver": False,
        "runtime_env": {"env_vars": {"GLIBC_TUNABLES": MALLOC} | QUIET | RAY_SETTINGS},
    }
    with restart_if_ray_dies() as watch:
        try:
            if os.environ.get("RAY_ADDRESS"):
                ray.init(**started)
            else:
                _start_local(started)
        except Exception as problem:  # noqa: BLE001 - Ray raises plain ones
            raise not_started(problem) from None
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has set another
        try:
            with watch.until_a_signal():
                yield
        finally:
            ray.shutdown()


def check_start() -> None:
    """Start Ray on this machine and end it, before hours of work are done for it.

    Raises:
        ConfigError: It does not start.
    """
    with ray_session():
        pass


def _start_local(given: Mapping[str, Any]) -> None:
    """Start Ray on this machine, for this machine: nothing of it listens on another address."""
    import ray  # noqa: PLC0415 - see ray_session
    from ray._private import services  # noqa: PLC0415

    os.environ.setdefault("RAY_enable_metrics_collection", "0")  # a port without the token
    resolve = services.resolve_ip_for_localhost
    services.resolve_ip_for_localhost = _as_given  # it makes 127.0.0.1 the machine's own address
    try:
        ray.init(address="local", include_dashboard=False, _node_ip_address=LOOPBACK, **given)
    finally:
        services.resolve_ip_for_localhost = resolve


def _as_given(host: str) -> str:
    return host


def _not_counted(callbacks: object) -> bool:
    del callbacks
    return False


def trial_slots(asked: ResourceConfig, at_once: int) -> int:
    """Return how many trials the cluster can run in parallel, each with `asked.workers` workers.

    A worker has to fit on one node; the remainders of two nodes do not add up. On a cluster that
    was joined, `at_once` holds whether it has the resources or not: an autoscaler adds machines for
    trials that wait, and a machine that joins gets work.

    Raises:
        ConfigError: It is too small for a single trial; names what it lacks.
    """
    import ray  # noqa: PLC0415 - see ray_session

    have = node_resources(ray.nodes())
    joined = bool(os.environ.get("RAY_ADDRESS"))
    if joined and not have:
        if at_once:
            return at_once
        raise ConfigError(
            "The cluster has no machine for trials yet: give --budget.at-once, and it starts as "
            "many as that takes."
        )
    room = _room(have, asked)
    if joined and at_once:
        if room < asked.workers:
            message = "--workers %d: the cluster has room for %d now; waiting for machines."
            log.warning(message, asked.workers, room)
        return at_once
    if room < asked.workers:
        raise ConfigError(
            f"--workers {asked.workers}: the cluster has room for {room} workers of this size; use "
            "fewer, or smaller ones."
        )
    most = max(1, room // asked.largest_group)
    return min(most, at_once or most)


def _room(have: Sequence[Mapping[str, float]], asked: ResourceConfig) -> int:
    """Return how many workers fit on the nodes, none on two of them.

    Raises:
        ConfigError: No node is large enough for one; names what it lacks.
    """
    needs = {name: need for name, need in {"CPU": asked.cpus, "GPU": asked.gpus}.items() if need}
    for name, need in needs.items():
        largest = max((node.get(name, 0.0) for node in have), default=0.0)
        if largest < need:
            raise ConfigError(
                f"--{name.lower()}s {need:g}: the largest node of the cluster has {largest:g} "
                f"{name}s."
            )
    return sum(min(int(node.get(name, 0) // need) for name, need in needs.items()) for node in have)


def alive_node_ids() -> frozenset[str]:
    """Return the ids of the nodes that are alive. Needs a `ray_session`."""
    import ray  # noqa: PLC0415 - see ray_session

    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])


def reachable_node_ids() -> frozenset[str]:
    """Return the ids of the live nodes whose raylet takes a connection. Needs a `ray_session`.

    Ray reports a node as dead some ten seconds after its processes are.
    """
    import ray  # noqa: PLC0415 - see ray_session

    alive = [node for node in ray.nodes() if node["Alive"]]
    with ThreadPoolExecutor(max(1, len(alive))) as pool:
        answers = pool.map(_takes_a_connection, alive)
        return frozenset(node["NodeID"] for node, one in zip(alive, answers, strict=True) if one)


def _takes_a_connection(node: Mapping[str, Any]) -> bool:
    place = node["NodeManagerAddress"], node["NodeManagerPort"]
    try:
        socket.create_connection(place, timeout=CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def node_resources(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, float]]:
    """Return the resources of each node that is alive and can run anything."""
    alive = [node["Resources"] for node in found if node["Alive"]]
    return [each for each in alive if each.get("CPU") or each.get("GPU")]

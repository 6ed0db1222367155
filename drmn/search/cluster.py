"""The Ray cluster: joined or started for a search, quietly."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from drmn.errors import ConfigError

# 1.25 times the speed of a training step: freed batches stay with the process (performance.md).
MALLOC = (
    "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736"
    ":glibc.malloc.top_pad=268435456:glibc.malloc.hugetlb=1"
)


@contextmanager
def cluster() -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine, for a `with` block."""
    for name in ("ray", "ray.tune", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a trial's error is in the record
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


def places(cpus: float, gpus: float, at_once: int) -> int:
    """Return how many trials the cluster can run at a time."""
    have = ray.cluster_resources()
    needs = {name: need for name, need in {"CPU": cpus, "GPU": gpus}.items() if need}
    room = {name: int(have.get(name, 0) // need) for name, need in needs.items()}
    for name, fit in room.items():
        if not fit:
            flag = f"--{name.lower()}s {needs[name]}"
            raise ConfigError(f"{flag}: the cluster has {have.get(name, 0):g} {name}s.")
    most = min(room.values())
    return min(most, at_once or most)

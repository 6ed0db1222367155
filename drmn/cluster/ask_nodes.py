"""Asking every node of a cluster the same question."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from drmn.errors import last_line

T = TypeVar("T")
PATIENCE = 120.0
"""Seconds that a node has to answer: its first process may have to start."""


def ask(question: Callable[[], T]) -> Mapping[str, T | str]:
    """Return each node's answer by its address, or why it has none. Needs a `cluster`."""
    asked = {
        f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})": ray.remote(_answered)
        .options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        )
        .remote(question)
        for node in ray.nodes()
        if node["Alive"]
    }
    return {name: _answer(reference) for name, reference in asked.items()}


def _answered(question: Callable[[], T]) -> T:
    return question()


def _answer(reference: "ray.ObjectRef[T]") -> T | str:
    try:
        return ray.get(reference, timeout=PATIENCE)
    except GetTimeoutError:
        return f"no answer within {PATIENCE:.0f} s"
    except RayError as problem:
        return last_line(problem)

"""Running the same function on every node of a cluster."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from drmn.errors import last_line

Answer = TypeVar("Answer")
ANSWER_TIMEOUT_S = 120.0
"""Seconds that a node has to answer: its first process may have to start."""


def ask_every_node(question: Callable[[], Answer]) -> Mapping[str, Answer | str]:
    """Return each node's answer by its address, or why it has none. Needs a `ray_session`."""
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


def _answered(question: Callable[[], Answer]) -> Answer:
    return question()


def _answer(reference: "ray.ObjectRef[Answer]") -> Answer | str:
    try:
        return ray.get(reference, timeout=ANSWER_TIMEOUT_S)
    except GetTimeoutError:
        return f"no answer within {ANSWER_TIMEOUT_S:.0f} s"
    except RayError as problem:
        return last_line(problem)

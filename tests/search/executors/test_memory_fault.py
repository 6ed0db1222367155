"""Errors of memory are known by what really raises them."""

import numpy as np
import pytest
import ray.exceptions
import torch

from drmn.search.executors import memory_fault
from drmn.search.executors.memory_fault import OomKills, is_out_of_memory
from drmn.search.executors.trial_queue import GroupMemoryError, LostProcessError

TOO_MANY = 1 << 50
"""More than any address space has."""


def torch_on_a_cpu():
    return torch.empty(TOO_MANY)


def numpy_array():
    return np.ones(TOO_MANY)


def torch_on_a_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def ray_memory_monitor():
    raise ray.exceptions.OutOfMemoryError("Task was killed due to the node running low on memory.")


@pytest.mark.parametrize(
    "allocate",
    [torch_on_a_cpu, numpy_array, torch_on_a_gpu, ray_memory_monitor],
    ids=lambda f: f.__name__,
)
def test_an_error_of_memory_is_known(allocate):
    with pytest.raises((RuntimeError, MemoryError, ray.exceptions.RayError)) as raised:
        allocate()
    assert is_out_of_memory(raised.value)
    if not isinstance(raised.value, ray.exceptions.RayError):
        assert is_out_of_memory(ray.exceptions.RayTaskError("step", "", raised.value))


def test_a_group_that_lost_a_worker_for_want_of_memory_is_known():
    assert is_out_of_memory(GroupMemoryError("the node was low on memory"))
    assert not is_out_of_memory(LostProcessError("out of memory"))  # words alone are none


@pytest.mark.parametrize(
    "error", [None, ValueError("out of memory"), RuntimeError("loss is NaN"), KeyError("memory")]
)
def test_another_error_is_not_of_memory(error):
    assert not is_out_of_memory(error)


def test_a_process_that_the_kernel_has_just_ended_for_memory_is_known(tmp_path, monkeypatch):
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 3\noom_kill 1\n")
    monkeypatch.setattr(memory_fault, "_of_group", lambda: [events, tmp_path / "no such file"])
    kills = OomKills()
    assert not kills.recent()
    events.write_text("low 0\noom 5\noom_kill 2\n")
    assert kills.recent()
    assert kills.recent()  # of another process that was ended with it
    kills.rose -= memory_fault.RECENT_S
    assert not kills.recent()

"""What this machine can do at most: what a figure is to be held against."""

import time
from collections.abc import Callable

import torch


def peak(kind: torch.dtype) -> float:
    """Return the best rate of a matrix product on one thread, in operations a CPU second."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a, b = torch.randn(2, 2048, 2048).to(kind)
    best = min(timed(lambda: a @ b) for _ in range(8))
    torch.set_num_threads(threads)
    return 2 * 2048**3 / best


def timed(work: Callable[[], object]) -> float:
    """Return the CPU seconds that `work` takes."""
    began = time.process_time()
    work()
    return time.process_time() - began

"""Processes for trainings that do not wait for each other, a thread each."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from drmn.malloc import keep_memory


def processes(count: int | None = None) -> ProcessPoolExecutor:
    """Return so many, or one a core, set up as the workers of trials are."""
    return ProcessPoolExecutor(
        count or os.cpu_count(), mp_context=get_context("spawn"), initializer=_begin
    )


def _begin() -> None:
    torch.set_num_threads(1)
    keep_memory()

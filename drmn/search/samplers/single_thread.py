"""Small calculations beside large ones: one thread, and freed memory returned to the system."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from drmn.malloc import give_back_memory


@contextmanager
def lean() -> Iterator[None]:
    """Have torch use one thread in a `with` block, then return freed memory to the system.

    For matrices as small as a sampler's, several threads take twice the time. Their freed memory
    is fragmented and malloc keeps it: 100 kB for each trial of a search of thousands.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        give_back_memory()

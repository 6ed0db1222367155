"""Settings of Python's garbage collector."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

ALLOCATIONS = 20_000
"""New containers, less those freed, until the youngest are searched for reference cycles; 700 by
default, with which an import of torch, MLflow or Ray is searched hundreds of times."""


def collect_rarely() -> None:
    """Let this process search for reference cycles rarely, and not at its end.

    A search's driver takes a quarter less CPU time to its end, of which 0.5 seconds are the last
    search: the system takes back all memory anyhow.
    """
    gc.set_threshold(ALLOCATIONS, *gc.get_threshold()[1:])
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


@contextmanager
def paused() -> Iterator[None]:
    """Search for no reference cycles in a `with` block of imports, which leave next to none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

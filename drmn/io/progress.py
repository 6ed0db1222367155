"""Callbacks that report the progress of a long piece of work."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with how many items are done, of how many."""
StartProgress = Callable[[str], Progress]
"""Called with the name of a piece of work; returns the callback for its progress."""


def silent(_: str) -> Progress:
    """Report nothing."""
    return lambda *_: None

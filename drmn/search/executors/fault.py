"""Classification of a trial's error: its own, of files that all read, or of another worker."""

from drmn.errors import DataError, StoreFaultError, last_line
from drmn.search.executors.memory_fault import is_out_of_memory
from drmn.search.storage.disk_full import is_disk_full

PEER_ERRORS = ("DistError",)
"""Names of the classes: torch's for NCCL and for its own connections."""
PEER_WORDS = ("gloo/transport", "connection closed by peer", "connection reset by peer", "nccl")
"""Parts of the messages of gloo, whose errors have no class of their own."""


def is_of_peer(error: BaseException) -> bool:
    """Return whether a worker lost the connection to another of its group.

    It finds that out at its next step, before Ray reports that the other one is gone.
    """
    if is_out_of_memory(error):
        return False
    if any(kind.__name__ in PEER_ERRORS for kind in type(error).__mro__):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in PEER_WORDS)


def is_of_files(error: BaseException | None) -> bool:
    """Return whether files failed a trial, rather than its settings: any other would fail too.

    A damaged or missing feature store, a photo that is gone, a disk that cannot be read. Not a full
    disk, which the search waits for, nor memory, nor a connection, which is lost with a process.
    """
    inner = getattr(error, "cause", None) or error
    if isinstance(inner, ConnectionError) or is_disk_full(inner) or is_out_of_memory(error):
        return False
    return isinstance(inner, DataError | OSError)


def fault_of(error: BaseException) -> StoreFaultError:
    """Return the error that ends the search instead of the trial."""
    said = last_line(error).rstrip(".")
    return StoreFaultError(f"{said}; no trial failed by it, and the same command resumes them.")

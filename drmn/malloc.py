"""Settings of glibc's malloc: memory kept for reuse, or given back."""

import ctypes


def keep_memory() -> None:
    """Let this process keep what it frees: returning it to the system costs a third of a pass.

    As GLIBC_TUNABLES does for the trials' processes, which are started with it.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # not glibc
        return
    for option, value in {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 256 << 20}.items():
        libc.mallopt(option, value)


def give_back_memory() -> None:
    """Return freed memory to the system, whether `keep_memory` kept it or malloc did."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Constants of malloc.h."""

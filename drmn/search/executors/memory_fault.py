"""Out of memory: known by a trial's error, or by the kernel's count of processes that it ended."""

import time
from pathlib import Path

MEMORY_ERRORS = ("OutOfMemoryError", "MemoryError")
"""Names of the classes: torch's for a GPU, Ray's for a machine that is low on memory, Python's."""
WORDS = ("can't allocate memory", "cannot allocate memory", "out of memory")
"""Parts of the messages of torch's allocator on a CPU, of the system, and of CUDA's libraries."""
RECENT_S = 30.0
"""Seconds within which a lost process is taken for one that the kernel has ended."""
COUNTS = (
    ("", "memory.events"),
    ("memory", "memory.oom_control"),
)
"""Controllers of a control group, and the file that has `oom_kill N`: version 2, version 1."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether a trial raised an error of memory. Not one that the kernel has ended."""
    inner = getattr(error, "cause", None) or error
    if any(kind.__name__ in MEMORY_ERRORS for kind in type(inner).__mro__):
        return True
    said = str(inner).lower()
    return isinstance(inner, RuntimeError | OSError) and any(words in said for words in WORDS)


class OomKills:
    """Number of this machine's processes that the kernel ended for want of memory."""

    def __init__(self) -> None:
        self.files = [Path("/proc/vmstat"), *_of_group()]
        self.known, self.rose = self._count(), -RECENT_S

    def look(self) -> None:
        """Note the time if it is more than at the last look."""
        before, self.known = self.known, self._count()
        if self.known > before:
            self.rose = time.monotonic()

    def recent(self) -> bool:
        """Return whether it has risen in the last seconds."""
        self.look()
        return time.monotonic() - self.rose < RECENT_S

    def _count(self) -> int:
        return sum(_kills(path) for path in self.files)


def _of_group() -> list[Path]:
    """Return the files of this process's control groups: a container sees no others."""
    found = []
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except FileNotFoundError:  # no Linux
        return []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        for controller, name in COUNTS:
            if controller in controllers.split(","):
                root = Path("/sys/fs/cgroup") / controller
                found += [root / group.lstrip("/") / name, root / name]
    return list(dict.fromkeys(found))


def _kills(path: Path) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

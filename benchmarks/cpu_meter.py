"""CPU seconds of a process and of all that it starts."""

import contextlib
import threading
from typing import Self

import psutil


class Meter:
    """Adds up the CPU seconds of this process and all below it, those that end included.

    Nobody waits for some of them, so the system forgets what they used: they are looked at twice a
    second, and what one used after the last look is lost.
    """

    def __init__(self) -> None:
        self.seen: dict[tuple[int, float], float] = {}
        self.lock, self.over = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Begin to look."""
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Look no more."""
        self.over.set()
        self.thread.join()

    def total(self) -> float:
        """Return the seconds so far."""
        self._look()
        return sum(self.seen.values())

    def _watch(self) -> None:
        while not self.over.wait(0.5):
            self._look()

    def _look(self) -> None:
        with self.lock:
            here = psutil.Process()
            for process in [here, *here.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    key = process.pid, process.create_time()
                    self.seen[key] = sum(process.cpu_times()[:2])

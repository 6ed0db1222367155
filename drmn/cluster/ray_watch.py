"""Watch over a local Ray: when its raylet or GCS dies, the job starts again and resumes.

Ray does not come back from that in the same process: calls wait for ever, or its library ends the
process, after a minute and without a word where Ray was starting. A study resumes from its record,
so the process replaces itself: same command, same pid.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil

from drmn.cluster.reachable import not_started

RESTARTS = "DRMN_RAY_RESTARTS"
"""Environment variable: when this command has started again by itself, in seconds of
`time.monotonic`, which is the same clock in the process that takes its place."""
MAX_RESTARTS = 3
MAX_START_RESTARTS = 1
"""The same while Ray starts: a Ray that cannot run here is not to be waited for."""
RESTART_WINDOW_S = 3600.0
"""Restarts longer ago are not counted: a search of days may lose its Ray now and then."""
POLL_INTERVAL_S = 1.0
"""Seconds between two looks at Ray's processes."""
START_POLL_INTERVAL_S = 0.25
"""The same while Ray starts."""
GRACE_S = 3.0
"""Seconds that the job is given to end by itself: what ended Ray may have been meant for both."""
SERVERS = ("raylet", "gcs_server")
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a job."""
SHOW_CURSOR = "\x1b[?25h"


def _is_job() -> bool:
    """Return whether this process runs a job's file, and can be replaced by its own command."""
    main = getattr(sys.modules["__main__"], "__file__", None)
    return main is not None and Path(main).resolve() == Path(sys.argv[0]).resolve()


class Watchdog:
    """A process that says why this one ended, if Ray ends it while it starts.

    Where a job registers with a raylet or GCS that has just died, Ray's library ends its process at
    once, and nothing in it can say so.
    """

    TEXT = (
        "error: the job's process ended while Ray started, as when Ray's raylet or gcs_server is "
        "killed then; nothing that was finished is lost: the same command resumes."
    )

    def __init__(self) -> None:
        heard, self.alive = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            for number in ENDS:
                signal.signal(number, signal.SIG_IGN)
            os.close(self.alive)
            if not os.read(heard, 1):  # the end of the file: the job's process is gone
                os.write(2, f"{self.TEXT}\n".encode())
            os._exit(0)
        os.close(heard)

    def dismiss(self) -> None:
        """End it: Ray runs, or this process says itself why it ends."""
        pid, self.pid = self.pid, 0  # the watch's thread may call this too
        if pid:
            with suppress(OSError):  # somebody has killed it
                os.write(self.alive, b".")
                os.waitpid(pid, 0)
            os.close(self.alive)


class RayWatch:
    """Watch over the raylet and the GCS that this process starts, until a signal ends the job."""

    def __init__(self) -> None:
        self.earlier = _servers()
        """Of a Ray that this process had before."""
        self.servers: list[psutil.Process] = []
        self.started, self.ending = False, threading.Event()
        self.watchdog: Watchdog | None = None
        if _is_job():
            self.watchdog = Watchdog()
            threading.Thread(target=self._watch, daemon=True).start()

    @contextmanager
    def until_a_signal(self) -> Iterator[None]:
        """Let a signal that ends the job end the watch first, for a `with` block: Ray runs."""
        self._find()
        self.started = True
        self.dismiss()
        # One that is ignored stays so, and one that Python does not know cannot be put back.
        before = {n: handler for n in ENDS if callable(handler := signal.getsignal(n))}

        def end(number: int, frame: FrameType | None) -> None:
            self.ending.set()  # what ends the job may have ended Ray too
            before[signal.Signals(number)](number, frame)

        for number in before:
            signal.signal(number, end)
        try:
            yield
        finally:
            self.ending.set()
            for number, handler in before.items():
                signal.signal(number, handler)

    def dismiss(self) -> None:
        """End the process that would say why this one ended."""
        if self.watchdog:
            self.watchdog.dismiss()

    def _watch(self) -> None:
        while not self.ending.wait(POLL_INTERVAL_S if self.started else START_POLL_INTERVAL_S):
            if not self.started:
                self._find()
            elif not self.servers:
                return  # a cluster that was joined
            if any(map(_is_dead, self.servers)) and not self.ending.wait(GRACE_S):
                self.dismiss()
                _restart(self.servers, started=self.started)

    def _find(self) -> None:
        known = {*self.earlier, *self.servers}
        self.servers += [each for each in _servers() if each not in known]


@contextmanager
def restart_if_ray_dies() -> Iterator[RayWatch]:
    """Watch over a local Ray for a `with` block in which it starts, runs and ends."""
    watch = RayWatch()
    try:
        yield watch
    finally:
        watch.ending.set()
        watch.dismiss()


def _servers() -> list[psutil.Process]:
    """Return the raylet and the GCS among this process's children, dead ones too."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if child.name() in SERVERS:
                found.append(child)
    return found


def _is_dead(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _restart(servers: list[psutil.Process], *, started: bool) -> None:
    """Replace this process by its own command, or end it after too many times."""
    name = " or ".join(SERVERS)
    left = [process for server in servers for process in (*_below(server), server)]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=GRACE_S)
    now = time.monotonic()
    known = [float(each) for each in os.environ.get(RESTARTS, "").split()]
    recent = [*(each for each in known if now - each < RESTART_WINDOW_S), now]
    times = len(recent)
    if sys.stdout.isatty():
        print(SHOW_CURSOR, end="", flush=True)  # noqa: T201 - a line of progress has hidden it
    if not started and times > MAX_START_RESTARTS:
        _say(f"error: {not_started(RuntimeError(f'its {name} died'))}")
        os._exit(1)
    if times > MAX_RESTARTS:
        _say(
            f"error: Ray's {name} died {times} times within an hour; nothing that was finished is "
            "lost. Close what else takes memory or use a smaller --budget.at-once: the same "
            "command resumes."
        )
        os._exit(1)
    _say(
        f"note: Ray's {name} died; the job starts again by itself and resumes "
        f"({times} of {MAX_RESTARTS} times within an hour)."
    )
    os.environ[RESTARTS] = " ".join(map(str, recent))
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own
    except OSError as problem:
        _say(f"error: {sys.executable}: {problem.strerror}; give the same command again.")
        os._exit(1)


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201

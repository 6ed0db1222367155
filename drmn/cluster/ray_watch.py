"""Watch over a local Ray: when its raylet or GCS dies, the job starts again and resumes.

Ray does not come back from that in the same process: calls wait for ever, or its library ends the
process. A study resumes from its record, so the process replaces itself: same command, same pid.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil

RESTARTS = "DRMN_RAY_RESTARTS"
"""Environment variable: how often this command has started again by itself."""
MAX_RESTARTS = 3
POLL_INTERVAL_S = 1.0
"""Seconds between two looks at Ray's processes."""
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


@contextmanager
def restart_if_ray_dies() -> Iterator[None]:
    """Watch the raylet and the GCS that this process has started, for a `with` block."""
    servers, ending = _servers(), threading.Event()
    if not servers or not _is_job():
        yield
        return
    threading.Thread(target=_watch, args=(servers, ending), daemon=True).start()
    # One that is ignored stays so, and one that Python does not know cannot be put back.
    before = {n: handler for n in ENDS if callable(handler := signal.getsignal(n))}

    def end(number: int, frame: FrameType | None) -> None:
        ending.set()  # what ends the job may have ended Ray too
        before[signal.Signals(number)](number, frame)

    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        ending.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _servers() -> list[psutil.Process]:
    """Return the raylet and the GCS among this process's children."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if child.name() in SERVERS and not _is_dead(child):
                found.append(child)
    return found


def _watch(servers: list[psutil.Process], ending: threading.Event) -> None:
    while not ending.wait(POLL_INTERVAL_S):
        if any(map(_is_dead, servers)) and not ending.wait(GRACE_S):
            _restart(servers)


def _is_dead(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _restart(servers: list[psutil.Process]) -> None:
    """Replace this process by its own command, or end it after too many times."""
    name = " or ".join(SERVERS)
    left = [process for server in servers for process in (*_below(server), server)]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=GRACE_S)
    times = int(os.environ.get(RESTARTS, "0")) + 1
    if sys.stdout.isatty():
        print(SHOW_CURSOR, end="", flush=True)  # noqa: T201 - a line of progress has hidden it
    if times > MAX_RESTARTS:
        _say(
            f"error: Ray's {name} died {times} times; nothing that was finished is lost. Close "
            "what else takes memory or use a smaller --budget.at-once: the same command resumes."
        )
        os._exit(1)
    _say(
        f"note: Ray's {name} died; the job starts again by itself and resumes "
        f"({times} of {MAX_RESTARTS} times)."
    )
    os.environ[RESTARTS] = str(times)
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

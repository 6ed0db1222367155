"""Heartbeat of a process that trains a trial: a file that it touches after each step.

The driver reads it (`hang_watch`), on storage that both reach. There is none between epochs, while
the process waits for the driver. Trials do not depend on it: a disk that refuses it fails none.
"""

import faulthandler
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import psutil

from drmn.experiment.study_layout import HEARTBEATS, STACKS

HEARTBEAT_INTERVAL_S = 1.0
"""Seconds between two touches of the file, at least."""
DUMP_STACKS = signal.SIGUSR2
"""Signal at which the process writes the stacks of its threads, even in a deadlock."""
WRITING_TIMEOUT_S = 5.0
"""Seconds that a process is given to write them."""
WRITING_POLL_S = 0.02
"""Seconds between two looks at them: a file that has not grown is whole."""
CLOCK_S = 60.0
"""Seconds by which a machine's clock may be set while a process runs."""

ShouldStop = Callable[[], bool]  # that of drmn.training.stop loads torch, for `end_hanging` too


class TrialProcess(NamedTuple):
    """A process that trains a trial, on some machine of the cluster."""

    node: str
    """Ray's id of the machine."""
    pid: int
    created: float
    """When the process started, in its machine's clock: a pid may be used again."""

    @classmethod
    def here(cls, node: str) -> "TrialProcess":
        """Return this process, on the machine with Ray's id `node`."""
        return cls(node, os.getpid(), psutil.Process().create_time())


class Heartbeat(NamedTuple):
    """What a heartbeat file says."""

    process: TrialProcess
    turn: int
    """Number of the epoch in this process, by which two files of one name are told apart."""
    touched: float
    """When it was last touched, in the storage's clock; 0 before the first step."""


def heartbeats(folder: Path) -> dict[Path, Heartbeat]:
    """Return the heartbeats of the processes that train a trial now, by their files."""
    found = {path: read(path) for path in sorted(folder.glob(HEARTBEATS))}
    return {path: beat for path, beat in found.items() if beat is not None}


def clear(folder: Path) -> None:
    """Remove what processes left that have ended: heartbeats, and files without any stacks."""
    for path in folder.glob(HEARTBEATS):
        with suppress(OSError):
            path.unlink()
    for path in folder.glob(STACKS):
        _unlink_if_empty(path)


def read(path: Path) -> Heartbeat | None:
    """Return what a heartbeat file says; None if it is gone, or not yet written."""
    try:
        process, turn = json.loads(path.read_text())
        return Heartbeat(TrialProcess(*process), turn, path.stat().st_mtime)
    except (OSError, ValueError):
        return None


def stacks_of(heartbeat: Path) -> Path:
    """Return where the process of a heartbeat file writes its stacks."""
    return heartbeat.with_name(heartbeat.stem.replace("heartbeat", "stacks") + ".txt")


@runtime_checkable
class Task(Protocol):
    """A trial to train (`drmn.experiment.trial_task.TrialTask`)."""

    @property
    def folder(self) -> str:
        """Folder of the trial."""

    def epochs(self, device: str, leave: ShouldStop) -> Iterator[dict[str, Any]]:
        """Train and yield each epoch's result; call `leave` after each step."""


def train(
    task: Task, device: str, node: str, leave: ShouldStop, rank: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield the epochs of a trial, with a heartbeat while it trains.

    Args:
        task: The trial.
        device: Where to train.
        node: Ray's id of this machine.
        leave: Called after each step: whether to stop and resume elsewhere.
        rank: Number of this process among those that train the trial together.
    """
    here, folder = TrialProcess.here(node), Path(task.folder)
    beat = _Beat(folder / f"heartbeat-{rank}-{here.pid}.json", here)

    def after_step() -> bool:
        beat.touch()
        return leave()

    folder.mkdir(parents=True, exist_ok=True)
    stream = task.epochs(device, after_step)
    with _stacks_on_signal(stacks_of(beat.path)):
        while True:
            with beat.beating():
                result = next(stream, None)
            if result is None:
                return
            yield result


class _Beat:
    def __init__(self, path: Path, here: TrialProcess) -> None:
        self.path, self.here, self.turn, self.touched = path, here, 0, 0.0

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Have the file for a `with` block."""
        self.turn += 1
        with suppress(OSError):
            self.path.write_text(json.dumps((self.here, self.turn)))
            os.utime(self.path, (0, 0))
        try:
            yield
        finally:
            with suppress(OSError):
                self.path.unlink()

    def touch(self) -> None:
        now = time.monotonic()
        if now - self.touched >= HEARTBEAT_INTERVAL_S:
            self.touched = now
            with suppress(OSError):  # not `path.touch()`, which would make it anew
                os.utime(self.path)


@contextmanager
def _stacks_on_signal(path: Path) -> Iterator[None]:
    """Write the stacks of all threads to a file at `DUMP_STACKS`, within a `with` block."""
    with ExitStack() as opened:
        with suppress(OSError):
            file = opened.enter_context(path.open("a"))
            opened.callback(_unlink_if_empty, path)
            faulthandler.register(DUMP_STACKS, file=file, all_threads=True)
            opened.callback(faulthandler.unregister, DUMP_STACKS)
        yield


def _unlink_if_empty(path: Path) -> None:
    with suppress(OSError):
        if not path.stat().st_size:
            path.unlink()


def end_hanging(path: Path, seen: Heartbeat) -> None:
    """Have a process of this machine write its stacks, then end it at once.

    Not one that has made a step since its heartbeat was `seen`; and one that has gone on to another
    epoch, as it was continued for its stacks, lives: that may be another trial's.
    """
    process = seen.process
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(process.pid)
        # A pid may be used again; the clock by which psutil reckons may be set.
        if abs(found.create_time() - process.created) > CLOCK_S or read(path) != seen:
            return
        try:
            found.send_signal(DUMP_STACKS)
            found.send_signal(signal.SIGCONT)  # one that was stopped writes them too
            _wait_for(stacks_of(path))
        finally:
            if (now := read(path)) is not None and now.turn == seen.turn:
                found.kill()


def _wait_for(stacks: Path) -> None:
    """Wait until a file is written, and no longer: the process may train meanwhile."""
    until, before = time.monotonic() + WRITING_TIMEOUT_S, 0
    while time.monotonic() < until:
        time.sleep(WRITING_POLL_S)
        with suppress(OSError):
            size = stacks.stat().st_size
            if size and size == before:
                return
            before = size

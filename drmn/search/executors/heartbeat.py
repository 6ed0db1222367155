"""Heartbeat of a process that trains a trial: a file that it touches after each step.

The driver reads it (`hang_watch`), on storage that both reach. There is none between epochs, while
the process waits for the driver.
"""

import faulthandler
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


def heartbeats(folder: Path) -> list[Path]:
    """Return the heartbeat files of the processes that train a trial now."""
    return sorted(folder.glob(HEARTBEATS))


def clear(folder: Path) -> None:
    """Remove what processes left that have ended: heartbeats, and files without any stacks."""
    empty = [path for path in folder.glob(STACKS) if not path.stat().st_size]
    for path in (*heartbeats(folder), *empty):
        path.unlink(missing_ok=True)


def read(path: Path) -> TrialProcess | None:
    """Return the process of a heartbeat file; None if it is gone, or not yet written."""
    try:
        return TrialProcess(*json.loads(path.read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
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
        self.path, self.here, self.touched = path, here, 0.0

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Have the file for a `with` block."""
        self.path.write_text(json.dumps(self.here))
        try:
            yield
        finally:
            self.path.unlink(missing_ok=True)

    def touch(self) -> None:
        now = time.monotonic()
        if now - self.touched >= HEARTBEAT_INTERVAL_S:
            self.touched = now
            self.path.touch()


@contextmanager
def _stacks_on_signal(path: Path) -> Iterator[None]:
    """Write the stacks of all threads to a file at `DUMP_STACKS`, within a `with` block."""
    with path.open("a") as file:
        faulthandler.register(DUMP_STACKS, file=file, all_threads=True)
        try:
            yield
        finally:
            faulthandler.unregister(DUMP_STACKS)
            if not path.stat().st_size:
                path.unlink()


def end_hanging(heartbeat: Path, process: TrialProcess) -> None:
    """Have a process of this machine write its stacks, then end it at once."""
    stacks = stacks_of(heartbeat)
    try:
        found = psutil.Process(process.pid)
        if found.create_time() != process.created:
            return  # it ended, and its pid is another's
        found.send_signal(DUMP_STACKS)
        found.send_signal(signal.SIGCONT)  # one that was stopped writes them too
        until = time.monotonic() + WRITING_TIMEOUT_S
        while time.monotonic() < until and not stacks.stat().st_size:
            time.sleep(0.1)
        time.sleep(0.5)  # the rest of the file
        found.kill()
    except (psutil.NoSuchProcess, FileNotFoundError):
        return

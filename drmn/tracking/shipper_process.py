"""The shipper as a process of a driver: started, watched, and started again if it dies."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from rich.console import Console

from drmn.tracking.spool import Spool
from drmn.tracking.uri import URI

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Seconds before a shipper that has ended is started again: they double from time to time."""
STEADY_S = 60.0
"""A shipper that has run for so many seconds has not failed at its start."""
START_S = 180.0
"""Seconds that a driver which ends waits for a shipper that is still starting."""


class ShipperProcess:
    """A shipper in a separate process; it ends once its driver has ended and the spool is empty.

    A thread starts it again, with back-off, if it is killed or fails.

    Args:
        spool: The spool's file.
        uri: URI of MLflow's tracking store.
    """

    def __init__(self, spool: Path, uri: str) -> None:
        self.path, self.uri = spool, uri
        self.process: subprocess.Popen[bytes] | None = None
        self.ends: list[int] = []
        """Exit statuses of those that ended."""
        self._closed, self._over = False, threading.Event()
        self._swap = threading.Lock()
        self._start()
        threading.Thread(target=self._watch, daemon=True).start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "drmn.tracking", "ship", str(self.path)]
        # Not on the command line, which others can read: it may hold a password.
        environment = os.environ | {URI: self.uri}
        with self._swap, _log(self.path.with_suffix(".log")) as log:
            if self._over.is_set():
                return
            try:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,  # Ctrl-C is for the driver; its last events are shipped
                )
            except OSError:  # no memory or processes for it now
                self.process = None
            if self._closed and self.process is not None:
                _close_input(self.process)

    def _watch(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            began, process = time.monotonic(), self.process
            if process is not None:
                self.ends.append(process.wait())
            if time.monotonic() - began > STEADY_S:
                pause = FIRST_PAUSE_S
            if self._over.wait(pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE_S)
            self._start()

    def close(self) -> None:
        """Signal the end of events, without a wait: the shipper sends the rest by itself."""
        with self._swap:
            self._closed = True
            if self.process is not None:
                _close_input(self.process)

    def release(self) -> None:
        """Signal the end of events; the shipper sends the rest, and nobody starts it again."""
        self.close()
        self._over.set()

    def stop(self) -> None:
        """End the shipper."""
        with self._swap:
            self._over.set()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def drain(self, spool: Spool, idle: float = 90.0) -> bool:
        """Signal the end of events and wait for the rest; return whether all were shipped.

        Gives up after `idle` seconds without a shipped event (a fourth of that if none ever was),
        not counting those in which the shipper starts, or at once where MLflow refuses to work as
        it is: the spool keeps all.
        """
        if not spool.any_shipped:
            idle /= 4
        self.close()
        began = since = time.monotonic()
        left = spool.count
        while left and not self._over.is_set() and time.monotonic() - since < idle:
            time.sleep(0.1)
            state, now = spool.shipper, spool.count
            starting = not (self.is_current(spool) and state.tried)
            if now != left or (starting and time.monotonic() - began < START_S):
                left, since = now, time.monotonic()
            elif state.lasting and not starting:
                break
        self.stop()
        return spool.count == 0

    def is_current(self, spool: Spool) -> bool:
        """Return whether the state in the spool is that of the process that was started last."""
        return self.process is not None and spool.shipper.pid == self.process.pid


def drain(shipper: ShipperProcess, spool: Spool, uri: str, console: Console) -> None:
    """Wait until MLflow has all events, or print how many it lacks, and why."""
    if shipper.drain(spool) and not (spool.missed or spool.refused):
        return
    lacks = f"{spool.count + spool.missed + len(spool.refused)} entries"
    again = f"python jobs/sync.py {spool.path.parent} --tracking-uri {uri}"
    console.print(
        f"MLflow at {uri} lacks {lacks}: {_why(shipper, spool)}. They are safe in "
        f"{spool.path.parent}: {again}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )


def _why(shipper: ShipperProcess, spool: Spool) -> str:
    if spool.missed:
        return f"{spool.path} had no room for {spool.missed}"
    if not spool.count:
        return refusals(spool)
    state, log = spool.shipper, spool.path.with_suffix(".log")
    if shipper.is_current(spool) and state.tried:
        return state.text or "it is slow"
    died = [status for status in shipper.ends if status not in (0, -15)]
    if died:
        return f"the process that sends them ended {len(died)} times, with {died[-1]}; see {log}"
    return "the process that sends them has not started yet, as this machine is busy"


def refusals(spool: Spool) -> str:
    """Return how many entries MLflow has refused, and why it did the first."""
    refused = spool.refused
    event, why = refused[0]
    return f"it refused {len(refused)}, the first ({event['kind']} of {event['run']}): {why}"


def _log(path: Path) -> IO[str]:
    """Open the shipper's log to append to; where it cannot be written there is none."""
    try:
        return path.open("a")
    except OSError:
        return Path(os.devnull).open("a")


def _close_input(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()

"""The shipper's loop: from the spool to MLflow, however often that is away."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from drmn.io import atomic
from drmn.tracking.spool import Event, ShipperState, Spool
from drmn.tracking.uri import artifact_folder

if TYPE_CHECKING:
    from drmn.tracking.mlflow_writer import MlflowWriter
    from drmn.tracking.store_problem import StoreProblem

RETRY_S = 2.0
"""Seconds between two tries while MLflow does not answer."""
ORPHAN = 600.0
"""Seconds that a shipper without a driver keeps retrying while MLflow does not answer."""
IDLE = 0.5
"""Seconds between two polls of an empty spool."""
CLIENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # It retries by itself, after a check whether the request was carried out though no answer
    # came; MLflow would retry at once, and create a run twice.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""Variables of MLflow's client in a shipper."""
Say = Callable[["StoreProblem", Exception], None]
"""Is called with a reason why MLflow takes nothing, and the exception that it came as."""


def log(text: str) -> None:
    """Print a line for the log; where the disk is full there is none, and shipping continues."""
    with suppress(OSError):
        print(text[:500], flush=True)  # noqa: T201


def ship(
    spool: Spool,
    uri: str,
    *,
    closed: Callable[[], bool],
    restore: bool = False,
    patience: float = ORPHAN,
    say: Say = lambda _, problem: log(f"{type(problem).__name__}: {problem}"),
) -> None:
    """Ship events until no more come and all are shipped.

    While a driver runs, MLflow may be away for any time. Without one, give up after `patience`
    seconds without an answer, and at once where MLflow refuses to work as it is. One process at a
    time ships: it takes over from one that a killed driver has left behind.

    Args:
        spool: The queue of events.
        uri: URI of MLflow's tracking store.
        closed: Returns whether no more events come.
        restore: Restore experiments and runs that were deleted in the UI.
        patience: Seconds to go on without an answer once no more events come.
        say: Is called with each new reason why MLflow takes nothing.
    """
    spool.claim(os.getpid())
    os.environ |= CLIENT
    with atomic.alone(spool.path.with_suffix(".lock")):
        loop = _Loop(spool, uri, restore=restore, say=say)
        while spool.shipper.pid in (0, os.getpid()):  # else another has taken over
            last = closed()
            if last and loop.gives_up(patience):
                return
            left = loop.turn()
            if last and left == 0:
                return
            time.sleep(RETRY_S if left is None else 0 if left else IDLE)


class _Loop:
    """The state of a shipper between its turns."""

    def __init__(self, spool: Spool, uri: str, *, restore: bool, say: Say) -> None:
        self.spool, self.uri, self.restore, self.say = spool, uri, restore, say
        self._writer: MlflowWriter | None = None
        self._noted = set(spool.runs())
        self._heard = time.monotonic()
        self._problem: StoreProblem | None = None

    def gives_up(self, patience: float) -> bool:
        """Return whether there is no use in another turn without a driver."""
        if self._problem is None:
            return False
        return self._problem.lasting or time.monotonic() - self._heard > patience

    def turn(self) -> int | None:
        """Ship a batch; return its size, or None if MLflow did not take it."""
        # Both take seconds to import.
        from drmn.tracking.mlflow_writer import MlflowWriter  # noqa: PLC0415
        from drmn.tracking.store_problem import explain  # noqa: PLC0415

        try:
            waiting = self.spool.waiting()
            if self._writer is None:
                self._writer = MlflowWriter(
                    self.uri, artifact_folder(self.uri), restore=self.restore
                )
            self._ship(self._writer, waiting)
        except Exception as problem:  # noqa: BLE001 - whatever MLflow raises, the spool keeps all
            self._failed(explain(problem), problem)
            return None
        self._heard, self._problem = time.monotonic(), None
        if waiting:
            self._note(ShipperState(os.getpid(), tried=True))
        return len(waiting)

    def _ship(self, writer: "MlflowWriter", waiting: list[tuple[int, Event]]) -> None:
        refused = writer.apply([event for _, event in waiting])
        fresh = {key: run for key, run in writer.runs.items() if key not in self._noted}
        if waiting:
            self.spool.shipped([number for number, _ in waiting], fresh, refused)
        self._noted |= fresh.keys()

    def _failed(self, found: "StoreProblem", problem: Exception) -> None:
        if found != self._problem:
            self.say(found, problem)
        self._problem = found
        self._note(ShipperState(os.getpid(), tried=True, **found._asdict()))

    def _note(self, state: ShipperState) -> None:
        if self.spool.shipper != state:
            self.spool.note_shipper(state)

"""The shipper's loop, and its start by a driver in a separate process."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from drmn.tracking.spool import Spool
from drmn.tracking.uri import URI

RETRY_S = 2.0
"""Seconds between two tries while MLflow does not answer."""
ORPHAN = 600.0
"""Seconds that a shipper without a driver keeps retrying while MLflow does not answer."""
IDLE = 0.5
"""Seconds between two polls of an empty spool."""
SQLITE = "sqlite:///"


def absolute(uri: str) -> str:
    """Return a tracking URI that means the same from every folder, and to every SQLAlchemy.

    A relative SQLite path would open an empty database in each process's own folder; SQLAlchemy's
    default driver for PostgreSQL differs from version to version.
    """
    if uri.startswith("postgresql://"):
        return uri.replace("postgresql://", "postgresql+psycopg2://", 1)
    if not uri.startswith(SQLITE):
        return uri
    return SQLITE + str(Path(uri.removeprefix(SQLITE)).absolute())


def artifact_folder(uri: str) -> str:
    """Return where artifacts go if the store is a SQLite file: beside it. Else the empty string."""
    if not uri.startswith(SQLITE):
        return ""
    return str(Path(absolute(uri).removeprefix(SQLITE)).parent / "mlartifacts")


class ShipperProcess:
    """A shipper in a separate process; it ends once its driver has ended and the spool is empty.

    Args:
        spool: The spool's file.
        uri: URI of MLflow's tracking store.
    """

    def __init__(self, spool: Path, uri: str) -> None:
        command = [sys.executable, "-m", "drmn.tracking", "ship", str(spool)]
        told = {
            URI: uri,  # not on the command line, which others can read: it may hold a password
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            # It retries by itself, after a check whether the request was carried out though no
            # answer came; MLflow would retry at once, and create a run twice.
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        }
        with spool.with_suffix(".log").open("a") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | told,
                start_new_session=True,  # Ctrl-C is for the driver; its last events are shipped
            )

    def drain(self, spool: Spool, idle: float = 90.0) -> bool:
        """Signal the end of events and wait for the rest; return whether all were shipped.

        Gives up after `idle` seconds without a shipped event (a fourth of that if none ever was):
        MLflow is down, and the spool keeps all.
        """
        if not spool.any_shipped:
            idle /= 4
        if self.process.stdin is not None:
            self.process.stdin.close()
        left, since = spool.count, time.monotonic()
        while self.process.poll() is None and time.monotonic() - since < idle:
            time.sleep(0.1)
            if spool.count != left:
                left, since = spool.count, time.monotonic()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        return spool.count == 0


def ship(spool: Spool, uri: str, *, closed: Callable[[], bool], restore: bool = False) -> None:
    """Ship events until no more come and all are shipped, however long MLflow is away.

    Without a driver, give up once MLflow has not answered for `ORPHAN` seconds.

    Args:
        spool: The queue of events.
        uri: URI of MLflow's tracking store.
        closed: Returns whether no more events come.
        restore: Restore experiments and runs that were deleted in the UI.
    """
    from drmn.tracking.mlflow_writer import MlflowWriter  # noqa: PLC0415 - MLflow takes seconds to import

    shipper = MlflowWriter(uri, artifact_folder(uri), restore=restore)
    noted = spool.runs()
    heard = time.monotonic()
    while True:
        last = closed()
        if last and time.monotonic() - heard > ORPHAN:
            return  # the driver is gone and MLflow away: the next shipper sends the rest
        waiting = spool.waiting()
        if last and not waiting:
            return
        try:
            refused = shipper.apply([event for _, event in waiting])
            fresh = {key: run for key, run in shipper.runs.items() if key not in noted}
            spool.shipped([number for number, _ in waiting], fresh, refused)
        except Exception as problem:  # noqa: BLE001 - whatever MLflow raises, the spool keeps all
            print(f"{type(problem).__name__}: {problem}"[:500], flush=True)  # noqa: T201
            time.sleep(RETRY_S)
            continue
        heard = time.monotonic()
        noted |= fresh
        time.sleep(0 if waiting else IDLE)


def drain(shipper: ShipperProcess, spool: Spool, uri: str, console: Console) -> None:
    """Wait until MLflow has all events, or print how many it lacks, and why."""
    if shipper.drain(spool) and not (spool.missed or spool.refused):
        return
    lacks = f"{spool.count + spool.missed + len(spool.refused)} entries"
    again = f"python jobs/sync.py {spool.path.parent} --tracking-uri {uri}"
    console.print(
        f"MLflow at {uri} lacks {lacks}: {_why(spool)}. They are safe in {spool.path.parent}: "
        f"{again}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )


def _why(spool: Spool) -> str:
    if spool.missed:
        return f"{spool.path} had no room for {spool.missed}"
    if spool.count:
        return "it does not answer"
    return refusals(spool)


def refusals(spool: Spool) -> str:
    """Return how many entries MLflow has refused, and why it did the first."""
    refused = spool.refused
    event, why = refused[0]
    return f"it refused {len(refused)}, the first ({event['kind']} of {event['run']}): {why}"

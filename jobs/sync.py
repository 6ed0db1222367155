"""Send a study or run to MLflow again, from its record: a database that was lost is rebuilt.

python jobs/sync.py results/studies/NAME
python jobs/sync.py results/studies/NAME --tracking-uri http://server:5000
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from drmn.cli import run
from drmn.errors import ConfigError
from drmn.fields import require
from drmn.tracking.uri import default_store

if TYPE_CHECKING:
    from drmn.tracking.spool import Spool
    from drmn.tracking.store_problem import StoreProblem


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncJob:
    """Send a study or run to MLflow again, from its record."""

    folder: tyro.conf.Positional[Path]
    """Folder of the study or run: results/studies/NAME or results/runs/NAME."""
    storage: str = ""
    """The PostgreSQL that holds the record, if one does: postgresql://user@host/database."""
    tracking_uri: str = field(default_factory=default_store)
    """MLflow's store: a SQLite file or a server; by default that of MLFLOW_TRACKING_URI."""
    wait: float = 600.0
    """Seconds without an answer of MLflow after which it gives up."""


def main(job: SyncJob) -> None:
    """Send all that the record holds; exit with 1 if some of it did not arrive."""
    if not job.folder.is_dir():
        raise ConfigError(f"no folder {job.folder}; a study's is results/studies/NAME.")
    require("--wait", job.wait, job.wait >= 0, "0 or more")

    from drmn.search.callbacks.sync_mlflow import resend
    from drmn.tracking.reachable import require_client
    from drmn.tracking.shipper import ship
    from drmn.tracking.uri import absolute

    require_client(job.tracking_uri)
    spool = resend(job.folder, job.storage)

    def say(problem: "StoreProblem", _: Exception) -> None:
        again = "" if problem.lasting else f"; it is tried again, for {job.wait:g} s at most"
        print(f"MLflow at {job.tracking_uri}: {problem.text}{again}.", flush=True)

    uri = absolute(job.tracking_uri)
    ship(spool, uri, closed=lambda: True, restore=True, patience=job.wait, say=say)
    print(outcome(job, spool))
    sys.exit(bool(spool.count or spool.missed or spool.refused))


def outcome(job: SyncJob, spool: "Spool") -> str:
    """Return what has arrived, in a sentence."""
    from drmn.tracking.shipper_process import refusals

    if left := spool.count + spool.missed:
        why = spool.shipper.text if spool.count else f"{spool.path} had no room for {left}"
        return (
            f"MLflow at {job.tracking_uri} lacks {left} entries of {job.folder}: {why}. Nothing is "
            "lost: give this command again."
        )
    lacks = f", but for {len(spool.refused)} entries; {refusals(spool)}" if spool.refused else ""
    return f"MLflow at {job.tracking_uri} has all that the record of {job.folder} holds{lacks}."


if __name__ == "__main__":
    run(main, SyncJob)

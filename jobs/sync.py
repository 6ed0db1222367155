"""Send a study or run to MLflow again, from its record: a database that was lost is rebuilt.

python jobs/sync.py results/studies/NAME
python jobs/sync.py results/studies/NAME --tracking-uri http://server:5000
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from drmn.cli import run
from drmn.errors import ConfigError
from drmn.tracking.uri import default_store


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncJob:
    """Send a study or run to MLflow again, from its record."""

    folder: tyro.conf.Positional[Path]
    """Folder of the study or run: results/studies/NAME or results/runs/NAME."""
    storage: str = ""
    """The PostgreSQL that holds the record, if one does: postgresql://user@host/database."""
    tracking_uri: str = field(default_factory=default_store)
    """MLflow's store: a SQLite file or a server; by default that of MLFLOW_TRACKING_URI."""


def main(job: SyncJob) -> None:
    """Send all that the record holds; exit with 1 if some of it did not arrive."""
    if not job.folder.is_dir():
        raise ConfigError(f"no folder {job.folder}; a study's is results/studies/NAME.")

    from drmn.search.callbacks.sync_mlflow import resend
    from drmn.tracking.shipper import absolute, refusals, ship

    spool = resend(job.folder, job.storage)
    ship(spool, absolute(job.tracking_uri), closed=lambda: True, restore=True)
    refused = f"; {refusals(spool)}" if spool.refused else ""
    lacks = (
        f", but for {left} entries{refused}" if (left := spool.count + len(spool.refused)) else ""
    )
    print(f"MLflow at {job.tracking_uri} has all that the record of {job.folder} holds{lacks}.")
    sys.exit(bool(left))


if __name__ == "__main__":
    run(main, SyncJob)

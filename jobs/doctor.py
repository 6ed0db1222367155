"""Find out what is wrong with this machine, a cluster, or the file that describes one.

python jobs/doctor.py                                      # this machine
python jobs/doctor.py --cluster cluster.yaml               # a file, before `ray up`
ray job submit -- python jobs/doctor.py                    # all nodes of the cluster
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from drmn.cli import given, require_place, run, write_json
from drmn.doctor.finding import Finding
from drmn.fields import require
from drmn.flags import refuse_unused
from drmn.tracking.uri import default_store, require_store


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorJob:
    """Find out what is wrong with this machine, a cluster, or the file that describes one."""

    cluster: Path | None = None
    """Look at this file, such as cluster.yaml, and at nothing else."""
    results: Path = Path("results")
    """Folder of features, studies, runs and figures."""
    tracking_uri: str = field(default_factory=default_store)
    """MLflow's store: a SQLite file or a server; by default that of MLFLOW_TRACKING_URI."""
    least_gb: float = 10
    """Gigabytes that should be free."""
    json: Path | None = None
    """Write what was found into this file."""

    def __post_init__(self) -> None:
        """Check each value."""
        require_store(self.tracking_uri)
        require("least-gb", self.least_gb, self.least_gb >= 0, "0 or more")


def main(job: DoctorJob) -> None:
    """Run the checks, print a line for each, and exit with 1 if one fails."""
    require_place(job.json)
    if job.cluster is not None:
        refuse_unused(given(), ("cluster", "json"), "--cluster")
    found = []
    for finding in look(job):
        print(finding, flush=True)
        found.append(finding)
    write_json(job.json, [asdict(finding) | {"ok": finding.ok} for finding in found])
    bad = sum(not finding.ok for finding in found)
    print(f"{len(found)} things looked at, {bad or 'no'} problem{'s' * (bad != 1)}")
    sys.exit(1 if bad else 0)


def look(job: DoctorJob) -> Iterator[Finding]:
    """Yield the findings of all checks, one by one."""
    from drmn.doctor import examine, launch, secrets, services

    least = int(job.least_gb * 1e9)
    if job.cluster is not None:
        yield from launch.file(job.cluster)
        return
    if os.environ.get("RAY_ADDRESS"):
        from drmn.cluster.connect import ray_session

        with ray_session():
            yield from examine.everywhere(job.results, least)
    else:
        yield from examine.here(job.results, least)
        yield from services.ports()
    yield services.mlflow(job.tracking_uri)
    yield from secrets.secrets()


if __name__ == "__main__":
    run(main, DoctorJob)

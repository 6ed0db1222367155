"""Confirm a search's winner, train it on all of trainval, and test it once. Resumes when repeated.

python jobs/finalize.py --study demo                         # confirm, refit, test, report
python jobs/finalize.py --study cub --plan                   # how many trainings, and how long
python jobs/finalize.py --study cub --confirm.blocks 6       # fewer blocks, less sure
python jobs/finalize.py --study cub --ablate                 # and the paper's ablation table
python jobs/finalize.py --study cub --reopen "new features"  # test again; every report says so
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from drmn.cli import require_place, run, write_json
from drmn.cluster.resources import ResourceConfig
from drmn.errors import ConfigError
from drmn.experiment.config import require_name
from drmn.fields import require
from drmn.final.config import ConfirmConfig, RefitConfig
from drmn.tracking.uri import default_store

if TYPE_CHECKING:
    from rich.console import Console

    from drmn.final.context import Context, Search

COMMON = {
    "Study": ("--study", "--data-root", "--ablate", "--reopen", "--plan"),
    "Confirm and refit": ("--confirm.candidates", "--confirm.blocks", "--refit.seeds"),
    "Workers": ("--backend", "--at-once", "--workers", "--cpus", "--gpus"),
    "Where": ("--results", "--storage", "--tracking-uri", "--json"),
}
"""The options in the short help."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinalizeJob:
    """Confirm a search's winner, train it on all of trainval, and test it once."""

    study: str = ""
    """Name of the finished search."""
    data_root: str = ""
    """Folder or s3:// URI of the dataset, if it has moved since the search."""
    reopen: str = ""
    """Reason for opening a test split that was opened before; every report shows it."""
    ablate: bool = False
    """Train the winner without each part of the paper's ablation table too, on its blocks."""
    plan: bool = False
    """Say which trainings are left and how long they take. Start nothing."""
    confirm: ConfirmConfig = field(default_factory=ConfirmConfig)
    refit: RefitConfig = field(default_factory=RefitConfig)
    resources: Annotated[ResourceConfig, tyro.conf.arg(name="")] = field(
        default_factory=ResourceConfig
    )
    at_once: int = 0
    """Trainings that run in parallel. 0 for as many as the cluster holds."""
    results: Path = Path("results")
    """Folder of features, studies, runs and figures."""
    storage: str = ""
    """PostgreSQL that holds the record, as for the search."""
    tracking_uri: str = field(default_factory=default_store)
    """MLflow's SQLite file or server. By default that of MLFLOW_TRACKING_URI."""
    json: Path | None = None
    """Write the result as JSON into this file."""


def main(job: FinalizeJob) -> None:
    """Confirm, refit, test and report; print the table."""
    if not job.study:
        raise ConfigError("--study is missing: which search. jobs/tune.py --list shows them.")
    require_name("study", job.study)
    require("--at-once", job.at_once, job.at_once >= 0, "0 or more")
    require_place(job.json)

    from rich.console import Console

    from drmn.final.context import Search
    from drmn.search.study.services import check_services

    console = Console()
    search = Search(name=job.study, results=job.results, storage=job.storage)
    search.require()
    if job.plan:
        from drmn.final.forecast import forecast

        write_json(job.json, forecast(search, job.confirm, job.refit, console))
        return
    check_services(job.storage, job.tracking_uri, console)
    context = opened(job, search, console)

    from drmn.final.finalize import finalize
    from drmn.final.publish import publish
    from drmn.report.final_report import show, write_report

    result = finalize(context, job.confirm, job.refit, reopen=job.reopen, with_ablation=job.ablate)
    write_json(job.json, result.plain())
    files = write_report(context.out, search, result)
    publish(context, result, files)
    show(console, result, files[0])


def opened(job: FinalizeJob, search: "Search", console: "Console") -> "Context":
    """Return a search with its features, which must be those that it was made on."""
    from drmn.final.context import Context
    from drmn.report.progress import progress
    from drmn.report.terminal import prepared

    store, catalogue = prepared(console, search.request(job.data_root))
    if store.name != search.identity["data"]:
        raise ConfigError(
            f"--study {job.study}: it was made on the features {search.identity['data']}, and the "
            f"data now give {store.name}: the photos, the split or the weights have changed since."
        )
    return Context(
        search=search,
        store=store,
        catalogue=catalogue,
        tracking_uri=job.tracking_uri,
        resources=job.resources,
        at_once=job.at_once,
        console=console,
        progress=progress,
    )


if __name__ == "__main__":
    run(main, FinalizeJob, COMMON)

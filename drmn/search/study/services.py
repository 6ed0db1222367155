"""Checks of the services outside that a search or a run needs, before features are made."""

from pathlib import Path

from rich.console import Console

from drmn.cluster.reachable import check_ray
from drmn.search.storage.postgres import check_connection
from drmn.search.storage.studies import require_same
from drmn.search.study.plan import Plan
from drmn.tracking.reachable import require_client, store_problem

NO_STORE = Path()
"""In place of features that are not made yet."""


def require_resumable(plan: Plan) -> None:
    """Raise `StudyError` if a study of this name was started on other data or settings."""
    require_same(plan.folder, plan.identity(NO_STORE), plan.dataset, plan.storage)


def check_services(storage: str, tracking_uri: str, console: Console) -> None:
    """Raise `UserError` if a service that is needed cannot be reached, or MLflow's URI is wrong.

    MLflow may be away: that is a note, as nothing waits for it.

    Args:
        storage: URL of PostgreSQL; empty if the record is in a folder.
        tracking_uri: URI of MLflow's store.
        console: Prints the note.
    """
    check_ray()
    if storage:
        check_connection(storage)
    require_client(tracking_uri)
    if problem := store_problem(tracking_uri):
        console.print(
            f"note: MLflow at {tracking_uri}: {problem}. The job runs without it; entries wait in "
            "its spool.db until MLflow takes them.",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )

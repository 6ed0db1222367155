"""Checks of the services outside that a search or a run needs, before features are made."""

from drmn.cluster.reachable import check_ray
from drmn.search.storage.postgres import check_connection


def check_services(storage: str) -> None:
    """Raise `UserError` if Ray or the database of `--storage` cannot be reached.

    Args:
        storage: URL of PostgreSQL; empty if the record is in a folder.
    """
    check_ray()
    if storage:
        check_connection(storage)

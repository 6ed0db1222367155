"""The schema of MLflow's database: whether the MLflow of this environment can use it."""

import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.pool import NullPool

from drmn.errors import UserError
from drmn.tracking.uri import SQLITE

CONNECT_TIMEOUT_S = 10
"""Seconds that each address of a database's server has to answer."""
_LINE = re.compile(r"""^(revision|down_revision)\s*=\s*["'](\w+)["']""", re.MULTILINE)


class SchemaError(UserError):
    """A database of MLflow's whose schema this environment's MLflow cannot use."""


def schema_problem(uri: str) -> str:
    """Return why this environment's MLflow cannot use a database's schema; empty if it can.

    MLflow itself would bring some older ones up to date without a word, which shuts out every
    other person whose MLflow is not as new.

    Args:
        uri: URI of the database (`drmn.tracking.uri.absolute`).
    """
    found, (known, latest) = revision(uri), _revisions()
    if found in (None, latest):
        return ""
    here = f"MLflow {version('mlflow')} here"
    if found in known:
        return (
            f"its database has the older schema {found}, and {here} needs {latest}: make a copy of "
            f"it, then `mlflow db upgrade {uri}`"
        )
    return (
        f"its database has the schema {found} of a later MLflow, which {here} does not know: "
        "install that one, or give another --tracking-uri"
    )


def revision(uri: str) -> str | None:
    """Return the revision of a database's schema; None if it has no tables of MLflow yet."""
    if is_new(uri):
        return None
    engine = sqlalchemy.create_engine(uri, poolclass=NullPool, connect_args=_connect_args(uri))
    with engine.connect() as connection:
        if not sqlalchemy.inspect(connection).has_table("alembic_version"):
            return None
        found = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version"))
        return found.scalar()


def is_new(uri: str) -> bool:
    """Return whether a database is a SQLite file that is missing or empty."""
    if not uri.startswith(SQLITE):
        return False
    file = Path(uri.removeprefix(SQLITE))
    return not file.exists() or (file.is_file() and not file.stat().st_size)


def _connect_args(uri: str) -> Mapping[str, Any]:
    return {} if uri.startswith(SQLITE) else {"connect_timeout": CONNECT_TIMEOUT_S}


@cache
def _revisions() -> tuple[frozenset[str], str]:
    """Return all revisions that the installed MLflow knows, and the latest of them."""
    spec = importlib.util.find_spec("mlflow")
    places = spec.submodule_search_locations if spec else None
    before: dict[str, str] = {}
    for place in places or ():
        for file in Path(place, "store", "db_migrations", "versions").glob("*.py"):
            names = dict(_LINE.findall(file.read_text()))
            if "revision" in names:
                before[names["revision"]] = names.get("down_revision", "")
    (latest,) = before.keys() - set(before.values())
    return frozenset(before), latest

"""Where the record of a study or run lives: a SQLite file or PostgreSQL, held by one driver.

A run (`jobs/train.py`) is a study of one trial in results/runs; a search's is in results/studies.
"""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from drmn.errors import StudyError
from drmn.experiment.identity import Identity, refusal
from drmn.experiment.lock import locked_by
from drmn.search.storage import advisory_lock as claims
from drmn.search.storage import postgres
from drmn.search.storage.advisory_lock import StudyLock
from drmn.search.storage.disk_full import RetryingStorage
from drmn.search.trial_summary import STARTED

RECORD = "record.db"
"""File of a study's folder: its record."""
RUNS = "runs"
"""Folder of results, and prefix in a database, that runs are kept in: both may use one name."""


def kind_of(folder: Path) -> str:
    """Return "run" for a folder below results/runs, otherwise "study"."""
    return "run" if folder.parent.name == RUNS else "study"


def record_name(folder: Path) -> str:
    """Return what Optuna calls the study of a folder."""
    return f"{RUNS}/{folder.name}" if kind_of(folder) == "run" else folder.name


def open_study(folder: Path, identity: Identity, claim: StudyLock | None = None) -> optuna.Study:
    """Open the record in `folder`, or in the database of a `claim`; or start it.

    Raises:
        StudyError: It was made with another identity; says what differs.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # only our own lines are shown
    name = record_name(folder)
    with _readable(folder / RECORD) if claim is None else postgres.explained(claim.url):
        storage = _file(folder / RECORD) if claim is None else _server(claim.url, claim)
        study = _create(storage, name)
        made = study.user_attrs.get("identity", {})
        now = json.loads(json.dumps(identity))
        if made != now and any(trial.intermediate_values for trial in study.trials):
            raise StudyError(refusal(kind_of(folder), folder.name, made, now))
        if made != now:  # nothing was found out under the old identity
            optuna.delete_study(study_name=name, storage=storage)
            study = _create(storage, name)
            study.set_user_attr("identity", now)
            study.set_user_attr("key", f"{folder.name}-{uuid.uuid4().hex[:8]}")
            study.set_user_attr(STARTED, time.time())
        return study


def study_names(studies: Path, url: str = "") -> list[str]:
    """Return the studies in a folder, or those of its kind in the database at `url`."""
    if not url:
        return sorted(path.parent.name for path in studies.glob(f"*/{RECORD}"))
    place = postgres.parse_url(url)
    with postgres.explained(place):
        found = _server(place).get_all_studies()
    # Others may keep studies there too.
    ours = {study.study_name for study in found if "identity" in study.user_attrs}
    names = {name.rpartition("/")[2] for name in ours}
    return sorted(name for name in names if record_name(studies / name) in ours)


def load_study(studies: Path, name: str, url: str = "") -> optuna.Study:
    """Return a study of a folder or a database, to be read; its driver may be at work.

    Raises:
        StudyError: There is none of that name, or its record cannot be read.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if name not in (have := study_names(studies, url)):
        where = postgres.redacted(postgres.parse_url(url)) if url else studies
        raise StudyError(
            f"There is no {kind_of(studies / name)} {name!r} in {where}; there are: "
            f"{', '.join(have) or 'none'}."
        )
    if url:
        place = postgres.parse_url(url)
        with postgres.explained(place):
            study_name = record_name(studies / name)
            return optuna.load_study(study_name=study_name, storage=_server(place))
    path = studies / name / RECORD
    with _readable(path):
        return optuna.load_study(study_name=record_name(path.parent), storage=_file(path))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say which record it is that cannot be read in a `with` block."""
    broken = (sqlalchemy.exc.DatabaseError, optuna.exceptions.StorageInternalError, KeyError)
    try:
        yield
    except broken as problem:
        reason = str(problem).splitlines()[0]
        raise StudyError(
            f"{path}: not a readable record ({reason}); put a copy of it back, or use --study NAME "
            "to start another."
        ) from None


def _file(path: Path) -> RetryingStorage:
    storage = RetryingStorage(f"sqlite:///{path.absolute()}")
    sqlalchemy.event.listen(storage.engine, "connect", _durable)
    storage.engine.dispose()  # connections made so far lack the settings
    return storage


def _server(url: sqlalchemy.URL, claim: StudyLock | None = None) -> RetryingStorage:
    """Return PostgreSQL as Optuna knows it; with a claim, nothing is done once that is lost."""
    with postgres.tables_locked(url):
        try:
            storage = RetryingStorage(
                url.render_as_string(hide_password=False),
                engine_kwargs={"connect_args": postgres.connect_args(url)},
            )
        except RuntimeError as problem:  # its tables are of another version of Optuna
            raise StudyError(f"--storage {postgres.redacted(url)}: {problem}") from None
    sqlalchemy.event.listen(storage.engine, "connect", _committed)
    if claim is not None:
        sqlalchemy.event.listen(storage.engine, "checkout", lambda *_: claim.check())
    storage.engine.dispose()
    return storage


def _create(storage: RetryingStorage, name: str) -> optuna.Study:
    return optuna.create_study(
        storage=storage, study_name=name, direction="maximize", load_if_exists=True
    )


def _durable(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _committed(connection: Any, _: object) -> None:
    """Have the disk of the server wait for, whatever its own setting is."""
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit TO on")
    connection.commit()


def driver_of(folder: Path, url: str = "") -> str:
    """Return who runs the study or run of a folder, in words; empty if nobody does."""
    if url:
        return claims.driver_in_database(url, folder.name, kind_of(folder))
    pid = locked_by(folder)
    return "" if pid is None else f"process {pid}"

"""Where a study's record lives: a database of its own, held by one driver at a time."""

import fcntl
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from drmn.errors import StudyError

Identity = Mapping[str, Any]
"""What must not change while a study goes on, by name."""


def open_study(folder: Path, name: str, identity: Identity) -> optuna.Study:
    """Open the record in `folder`, or start it.

    Raises:
        StudyError: It was made with another identity; says what differs.
    """
    path = folder / "record.db"
    try:
        storage = _database(path)
        study = _create(storage, name)
        made = study.user_attrs.get("identity", {})
        now = json.loads(json.dumps(identity))
        if made != now and any(trial.intermediate_values for trial in study.trials):
            raise StudyError(difference("study", name, made, now))
        if made != now:  # nothing was found out under the old identity
            optuna.delete_study(study_name=name, storage=storage)
            study = _create(storage, name)
            study.set_user_attr("identity", now)
            study.set_user_attr("key", f"{name}-{uuid.uuid4().hex[:8]}")
    except (sqlalchemy.exc.DatabaseError, optuna.exceptions.StorageInternalError) as problem:
        reason = str(problem).splitlines()[0]
        raise StudyError(
            f"{path}: not a readable record ({reason}); put a copy of it back, or use --study NAME "
            "to start another."
        ) from None
    return study


def _database(path: Path) -> optuna.storages.RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")
    sqlalchemy.event.listen(storage.engine, "connect", _durable)
    storage.engine.dispose()  # connections made so far lack the settings
    return storage


def _create(storage: optuna.storages.RDBStorage, name: str) -> optuna.Study:
    return optuna.create_study(
        storage=storage, study_name=name, direction="maximize", load_if_exists=True
    )


def _durable(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def difference(kind: str, name: str, made: Identity, now: Identity) -> str:
    """Return the sentence that refuses to go on with a study or a run, and says what differs."""
    keys = [key for key in {**made, **now} if made.get(key) != now.get(key)]
    parts = [f"{key} was {made.get(key)!r}, now {now.get(key)!r}" for key in keys[:3]]
    more = f" and {len(keys) - 3} more" if len(keys) > len(parts) else ""
    return (
        f"{kind.capitalize()} {name} was started with other settings: {'; '.join(parts)}{more}. "
        f"Give the old ones to resume it, or --{kind} NAME to start another."
    )


@contextmanager
def held(folder: Path, name: str, *, kind: str = "study") -> Iterator[None]:
    """Hold a study or a run for a `with` block; the system lets go if the process dies.

    Raises:
        StudyError: Another process holds it; says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StudyError(
                f"{kind.capitalize()} {name} is being run by process {lock.read().strip()}; wait "
                f"for it, or use --{kind} NAME to start another."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield

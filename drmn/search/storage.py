"""Where a study's record lives: a database of its own, held by one driver at a time."""

import fcntl
import json
import os
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
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = f"sqlite:///{(folder / 'record.db').absolute()}"
    storage = optuna.storages.RDBStorage(url)
    sqlalchemy.event.listen(storage.engine, "connect", _durable)
    storage.engine.dispose()  # connections made so far lack the settings
    study = optuna.create_study(
        storage=storage, study_name=name, direction="maximize", load_if_exists=True
    )
    made = study.user_attrs.get("identity")
    if made is None:
        study.set_user_attr("identity", dict(identity))
    elif made != (now := json.loads(json.dumps(identity))):
        raise StudyError(_difference(name, made, now))
    return study


def _durable(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _difference(name: str, made: Identity, now: Identity) -> str:
    keys = [key for key in {**made, **now} if made.get(key) != now.get(key)]
    parts = [f"{key} was {made.get(key)!r}, now {now.get(key)!r}" for key in keys[:3]]
    more = f" and {len(keys) - 3} more" if len(keys) > len(parts) else ""
    return (
        f"Study {name} was started with other settings: {'; '.join(parts)}{more}. Give the old "
        "ones to resume it, or --study NAME to start another."
    )


@contextmanager
def held(folder: Path, name: str) -> Iterator[None]:
    """Hold a study for the length of a `with` block; the system lets go if the process dies.

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
                f"Study {name} is being run by process {lock.read().strip()}; wait for it, or use "
                "--study NAME to start another."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield

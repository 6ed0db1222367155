"""Studies in a storage: opened by the driver that writes them, or loaded to be read.

A run (`jobs/train.py`) is a study of one trial in results/runs; a search's is in results/studies.
"""

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.storages import BaseStorage

from drmn.errors import StudyError
from drmn.experiment.identity import Identity, refusal
from drmn.experiment.study_layout import TRIALS
from drmn.search.storage.factory import StudyStorage, make_storage
from drmn.search.storage.names import kind_of, record_name
from drmn.search.storage.sqlite import SqliteStorage
from drmn.search.trial_summary import METADATA, STARTED


def open_study(
    folder: Path,
    identity: Identity,
    storage: StudyStorage | None = None,
    *,
    say: Callable[[str], object] = lambda _: None,
) -> optuna.Study:
    """Open the study or run of `folder`, or start it.

    Args:
        folder: results/studies/NAME or results/runs/NAME, locked by this process.
        identity: Settings and digests that must be the same as at its first start.
        storage: Where its record lives; SQLite in the folder if none is given.
        say: Prints a note on what was found in the folder and set aside.

    Raises:
        StudyError: It was made with another identity, and says what differs; or it is unreadable.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # only our own lines are shown
    storage = storage or SqliteStorage()
    with storage.explained(folder):
        opened = storage.connect(folder)
        study = _create(opened, folder)
        made = study.user_attrs.get("identity", {})
        now = json.loads(json.dumps(identity))
        if made != now and _has_reported(study):
            raise StudyError(refusal(kind_of(folder), folder.name, made, now))
        if made != now:  # no trial has reported yet under the old identity
            optuna.delete_study(study_name=record_name(folder), storage=opened)
            study = _create(opened, folder)
            study.set_user_attr("identity", now)
            study.set_user_attr("key", f"{folder.name}-{uuid.uuid4().hex[:8]}")
            study.set_user_attr(STARTED, time.time())
            if moved := set_aside(folder):
                say(
                    f"note: {folder / TRIALS} has checkpoints of trials that this record does not "
                    f"know; they were moved to {moved}."
                )
        return study


def require_same(folder: Path, identity: Identity, dataset: str, url: str = "") -> None:
    """Refuse to resume a study with another dataset or other settings, before features are made.

    What features decide is left to `open_study`: their digest, and which block `b-1` is.

    Args:
        folder: Folder of the study, which may be new.
        identity: Settings and digests that must be the same as at its first start.
        dataset: The name of the dataset.
        url: The database of its record; empty if that is in the folder.

    Raises:
        StudyError: Something differs, or the record is unreadable.
    """
    storage = make_storage(url)
    if folder.name not in storage.names(folder.parent):
        return
    study = _loaded(storage, folder)
    about = study.user_attrs.get(METADATA, {}).get("options", {})
    if not about or not _has_reported(study):
        return
    made = {"dataset": about["dataset"], **study.user_attrs["identity"]}
    now = {"dataset": dataset, **json.loads(json.dumps(identity))}
    decided = {name for name in made | now if name == "data" or name.endswith("model.levels")}
    before, after = ({k: v for k, v in d.items() if k not in decided} for d in (made, now))
    if before != after:
        raise StudyError(refusal(kind_of(folder), folder.name, before, after))


def set_aside(folder: Path) -> Path | None:
    """Move the trials' folders of another record aside, as none of them is resumed; return where.

    None if there are none.
    """
    found = folder / TRIALS
    if not found.is_dir() or not any(found.iterdir()):
        return None
    number = 1 + sum(1 for _ in folder.glob(f"{TRIALS}.old-*"))
    return found.rename(folder / f"{TRIALS}.old-{number}")


def study_names(studies: Path, url: str = "") -> list[str]:
    """Return the studies in a folder, or those of its kind in the database at `url`."""
    return make_storage(url).names(studies)


def load_study(studies: Path, name: str, url: str = "") -> optuna.Study:
    """Return a study of a folder or a database; its driver may be at work.

    Raises:
        StudyError: There is none of that name, or its record cannot be read.
    """
    return _loaded(_storage_with(studies, name, url), studies / name)


def read_study(studies: Path, name: str, url: str = "") -> optuna.Study:
    """Return what `load_study` does for one look: it may follow no later change.

    Raises:
        StudyError: There is none of that name, or its record cannot be read.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # only our own lines are shown
    storage = _storage_with(studies, name, url)
    with storage.explained(studies / name):
        return storage.snapshot(studies / name)


def _storage_with(studies: Path, name: str, url: str) -> StudyStorage:
    """Return the storage that has a study, or raise `StudyError`."""
    storage = make_storage(url)
    if name not in (have := storage.names(studies)):
        raise StudyError(
            f"There is no {kind_of(studies / name)} {name!r} in {storage.place or studies}; there "
            f"are: {', '.join(have) or 'none'}."
        )
    return storage


def _loaded(storage: StudyStorage, folder: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # only our own lines are shown
    with storage.explained(folder):
        opened = storage.connect(folder)
        return optuna.load_study(study_name=record_name(folder), storage=opened)


def _has_reported(study: optuna.Study) -> bool:
    """Return whether a trial has an epoch: until then a study may be started anew."""
    return any(trial.intermediate_values for trial in study.trials)


def driver_of(folder: Path, url: str = "") -> str:
    """Return the driver of the study or run of a folder, in words; empty if none runs it."""
    return make_storage(url).driver(folder)


def _create(storage: BaseStorage, folder: Path) -> optuna.Study:
    return optuna.create_study(
        storage=storage,
        study_name=record_name(folder),
        direction="maximize",
        load_if_exists=True,
    )

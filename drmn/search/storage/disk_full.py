"""Full disks: the search waits until there is space, and loses nothing."""

import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import optuna
import sqlalchemy
from optuna.storages import RDBStorage

from drmn.experiment.study_layout import ROOM

P = ParamSpec("P")
Result = TypeVar("Result")
RETRY_INTERVAL_S = 2.0
"""Seconds between two attempts."""
PROBE = 32 << 20
"""Bytes that must fit before trials whose checkpoint found no space are started again."""
CHECKPOINTS = 3
"""Checkpoints that must fit too: a trial's state, its best epoch, and one that is being written."""
LEAST_FILES = 100
"""Files that the disk must have room for then: a trial, and Ray's own beside it, take some ten."""
WORDS = ("disk is full", "no space left", "disk quota exceeded")
"""Parts of the messages of SQLite, PostgreSQL and the system."""

logger = logging.getLogger(__name__)


def is_disk_full(problem: BaseException | None) -> bool:
    """Return whether an exception, or one of its causes, reports a full disk."""
    while problem is not None:
        if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(words in str(problem).lower() for words in WORDS):
            return True
        problem = problem.__cause__ or problem.__context__
    return False


def wait_for_space(folder: Path) -> None:
    """Wait until the disk of a study's folder has space again for what its trials write."""
    # One that was not written to its end is as large as there was space for.
    largest = max(map(_size_of, folder.glob("trials/*/*")), default=0)

    def probe() -> None:
        disk = os.statvfs(folder)
        few = disk.f_files and disk.f_favail < LEAST_FILES  # some disks do not count files
        if few or disk.f_bavail * disk.f_frsize < CHECKPOINTS * largest:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        path = folder / ROOM
        try:
            with path.open("wb") as file:
                file.write(bytes(PROBE))
                os.fsync(file.fileno())
        finally:
            path.unlink(missing_ok=True)

    _until_done(str(folder), probe)


def _size_of(path: Path) -> int:
    """Return the bytes of a file; 0 for a folder, and for one that a process has just removed."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


def _until_done(where: str, work: Callable[[], Result]) -> Result:
    """Retry `work` until the disk has space for it; log once that it waits."""
    waited = False
    while True:
        try:
            done = work()
        except (
            OSError,
            sqlalchemy.exc.DBAPIError,
            optuna.exceptions.StorageInternalError,
        ) as problem:
            if not is_disk_full(problem):
                raise
        else:
            if waited:
                logger.warning("%s: there is space again; the search resumes.", where)
            return done
        if not waited:
            logger.warning(
                "%s: the disk is full; the search waits, and resumes when there is space.", where
            )
        waited = True
        time.sleep(RETRY_INTERVAL_S)


def _patient(
    method: Callable[Concatenate[RDBStorage, P], Result],
) -> Callable[Concatenate[RDBStorage, P], Result]:
    """Return a write to the record that waits for disk space; each is one transaction."""

    def patient(self: RDBStorage, /, *given: P.args, **named: P.kwargs) -> Result:
        where = self.engine.url.database or "The record"
        return _until_done(where, lambda: method(self, *given, **named))

    return patient


class RetryingStorage(RDBStorage):
    """Optuna's database; a write that finds the disk full is retried until there is space."""

    create_new_trial = _patient(RDBStorage.create_new_trial)
    set_trial_param = _patient(RDBStorage.set_trial_param)
    set_trial_user_attr = _patient(RDBStorage.set_trial_user_attr)
    set_trial_intermediate_value = _patient(RDBStorage.set_trial_intermediate_value)
    set_trial_state_values = _patient(RDBStorage.set_trial_state_values)
    set_study_user_attr = _patient(RDBStorage.set_study_user_attr)

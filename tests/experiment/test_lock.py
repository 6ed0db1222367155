"""A study's folder that is removed while a process holds it."""

import shutil

import pytest

from drmn.errors import StudyError
from drmn.experiment.lock import lock_folder


def test_a_folder_that_is_removed_is_noticed_even_if_another_has_its_name(tmp_path):
    folder = tmp_path / "s"
    with lock_folder(folder, "s") as lock:
        lock.require_there()
        shutil.rmtree(folder)
        with pytest.raises(StudyError, match=rf"^{folder}: the folder was removed while"):
            lock.require_there()
        with lock_folder(folder, "s"), pytest.raises(StudyError, match="The same command starts"):
            lock.require_there()


def test_a_folder_that_is_moved_away_is_removed(tmp_path):
    with lock_folder(tmp_path / "s", "s") as lock:
        (tmp_path / "s").rename(tmp_path / "elsewhere")
        with pytest.raises(StudyError, match="was removed"):
            lock.require_there()

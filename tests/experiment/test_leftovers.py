"""What killed processes leave in a study's folder is removed, and nothing else."""

import pytest

from drmn.experiment.leftovers import sweep
from drmn.experiment.trial_checkpoints import CheckpointWriter, StaleWriterError, trial_folder

KEPT = {"best.pt", "attention.png", "last.other"}
LEFT = {"last.pt", "holder", "last.damaged", "best.damaged", "best.tmp"}


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def left(study):
    """Return the names of all that is kept in a study's folder with an ended and another trial."""
    for number in (0, 1):
        folder = trial_folder(study, number)
        folder.mkdir(parents=True)
        for name in KEPT | LEFT:
            (folder / name).write_text("")
    (study / "ray" / "tune").mkdir(parents=True)
    for name in (".room", "ray/tune/state.json", "record.db", "trials.old-1"):
        (study / name).write_text("")
    kept = {f"trials/0000/{name}" for name in KEPT}
    return kept | {f"trials/0001/{name}" for name in KEPT | LEFT} | {"record.db", "trials.old-1"}


def test_what_nothing_needs_is_removed_and_damaged_files_are_counted(tmp_path):
    kept = left(tmp_path)
    assert sweep(tmp_path, [0]) == 2
    assert names(tmp_path) == kept
    assert not (tmp_path / "ray").exists()
    assert sweep(tmp_path, [0, 7]) == 0  # nothing is left, and a trial without a folder has nothing
    assert names(tmp_path) == kept


def test_a_process_that_was_given_up_writes_no_more_into_what_was_swept(tmp_path):
    writer = CheckpointWriter(trial_folder(tmp_path, 0))
    writer.last({"number": 1})
    sweep(tmp_path, [0])
    with pytest.raises(StaleWriterError):
        writer.last({"number": 2})
    assert names(tmp_path) == set()

"""Files that a study keeps are compared with the digests that were written with them."""

import json
import sqlite3

import pytest
import torch
from studies import metrics, open_toy

from drmn.experiment.trial_checkpoints import CheckpointWriter, trial_folder
from drmn.io.content import note_made, remove_made
from drmn.search.analysis.verify import verify

AGAIN = "the study's command makes it again if it is needed"


@pytest.fixture
def study(tmp_path):
    """Return a study with a finished trial, one that is running, and a figure."""
    opened = open_toy(tmp_path)
    for epochs in (3, 1):
        point = opened.ask()
        writer = CheckpointWriter(trial_folder(tmp_path, point.number))
        for epoch in range(1, epochs + 1):
            state = {"model": {"w": torch.ones(2)}, "metrics": {"val/H": 0.5}, "number": epoch}
            writer.last(state)
            best = writer.best(state)
            opened.report(point.number, epoch, metrics(epoch / 10), checkpoint=best)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "study.html").write_text("curves")
    note_made(tmp_path / "figures", {})
    return opened


def problems(study, folder, **more):
    found = verify(folder, study.record.trial_summaries(), **more)
    return {each.file: each.problem for each in found if each.problem}


def test_whole_files_are_whole(study, tmp_path):
    found = verify(tmp_path, study.record.trial_summaries())
    assert {each.file: each.problem for each in found} == {
        "record.db": "",
        "trials/0000/best.pt": "",
        "trials/0001/last.pt": "",
        "figures/study.html": "",
    }


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


REST = "put a copy back, or python jobs/train.py --from {study}/0"


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("trials/0000/best.pt", f"damaged; {REST}"),
        ("trials/0001/last.pt", "damaged; the trial will start again"),
        ("figures/study.html", f"damaged; {AGAIN}"),
        (".figures.made", f"damaged; {AGAIN}"),
    ],
)
def test_a_flipped_bit_is_found_and_nothing_is_changed(study, tmp_path, file, problem):
    flip(tmp_path / file)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    # SQLite notes in `-shm` who reads.
    before = {path: path.read_bytes() for path in files if not path.name.endswith("-shm")}
    assert problems(study, tmp_path) == {file: problem.format(study=tmp_path.name)}
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("file", "problem"),
    [("trials/0000/best.pt", f"gone; {REST}"), ("figures/study.html", f"gone; {AGAIN}")],
)
def test_a_file_that_is_gone_is_named(study, tmp_path, file, problem):
    (tmp_path / file).unlink()
    assert problems(study, tmp_path) == {file: problem.format(study=tmp_path.name)}


def test_what_a_study_need_not_have_is_not_missed(study, tmp_path):
    (tmp_path / "trials/0001/last.pt").unlink()  # as before its first epoch ends
    remove_made(tmp_path / "figures")
    assert problems(study, tmp_path) == {}


def test_a_whole_checkpoint_of_another_trial_is_told_apart(study, tmp_path):
    writer = CheckpointWriter(trial_folder(tmp_path, 0))
    writer.best({"model": {"w": torch.zeros(2)}, "metrics": {}, "number": 3})
    said = f"not the one that the record names; {REST}".format(study=tmp_path.name)
    assert problems(study, tmp_path) == {"trials/0000/best.pt": said}


def test_a_driver_may_be_drawing_the_figures(study, tmp_path):
    flip(tmp_path / "figures" / "study.html")
    assert problems(study, tmp_path, driven=True) == {}


def test_a_damaged_page_of_a_database_is_found(study, tmp_path):
    other = tmp_path / "spool.db"
    with sqlite3.connect(other) as opened:
        opened.execute("CREATE TABLE waiting (key TEXT UNIQUE)")
        opened.executemany("INSERT INTO waiting VALUES (?)", [(f"{n:040}",) for n in range(500)])
    opened.close()
    assert problems(study, tmp_path) == {}
    content = bytearray(other.read_bytes())
    content[2 * 4096 : 2 * 4096 + 64] = bytes(64)
    other.write_bytes(content)
    (problem,) = problems(study, tmp_path).items()
    assert problem[0] == "spool.db"
    assert problem[1].startswith("damaged: ")


def test_a_note_of_another_form_is_a_damaged_one(study, tmp_path):
    for text in ("[]", "{}", json.dumps({"files": [1]}), "\xff"):
        (tmp_path / ".figures.made").write_text(text, encoding="latin-1")
        assert problems(study, tmp_path) == {".figures.made": f"damaged; {AGAIN}"}

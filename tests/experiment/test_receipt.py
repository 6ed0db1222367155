"""A finished study is shown again from its receipt as long as nothing has changed."""

import fcntl
import sqlite3
from contextlib import closing

import pytest

from drmn.experiment import receipt
from drmn.experiment.receipt import Basis
from drmn.tracking.spool import Spool

ASKED = {"budget.trials": 4, "results": "here"}


def statement(path, text):
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.execute(text)


@pytest.fixture
def study(tmp_path):
    """Return the folder of a study with a receipt, beside its data, features and MLflow's store."""
    folder = tmp_path / "study"
    for place in ("study/trials/0001", "data", "features"):
        (tmp_path / place).mkdir(parents=True)
    for file in ("study/trials/0001/best.pt", "data/photo.jpg", "features/level.arrow"):
        (tmp_path / file).write_text("content")
    statement(
        folder / "record.db", "CREATE TABLE trials AS SELECT 1 AS number, 'COMPLETE' AS state"
    )
    spool = Spool(folder / "spool.db")
    spool.put("study", {"kind": "run"})
    spool.shipped([1], {"study": "id1"})
    spool.close()
    store = tmp_path / "mlflow.db"
    statement(store, "CREATE TABLE runs AS SELECT 'id1' AS run_uuid, 'active' AS lifecycle_stage")
    statement(store, "CREATE TABLE logged_models AS SELECT 'm' AS model_id, 'id1' AS source_run_id")
    basis = Basis(
        asked=ASKED,
        data=[str(tmp_path / "data")],
        made=[str(tmp_path / "features")],
        tracking_uri=f"sqlite:///{store}",
    )
    receipt.write(folder, basis, "Best settings", {"best": {"trial": 1}})
    return folder


def test_a_study_of_which_nothing_changed_is_shown_as_before(study):
    kept = receipt.read(study, ASKED)
    assert (kept.said, kept.outcome) == ("Best settings", {"best": {"trial": 1}})


def test_logs_and_the_mark_that_a_store_was_opened_change_nothing(study):
    (study / "spool.log").write_text("a line more")
    (study.parent / "features" / "used").write_text("")
    assert receipt.read(study, ASKED) is not None


def test_other_settings_are_another_search(study):
    assert receipt.read(study, ASKED | {"budget.trials": 5}) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda study: (study / "trials/0001/best.pt").write_text("contenu"),
        lambda study: (study / "trials/0001/best.pt").unlink(),
        lambda study: (study.parent / "features/level.arrow").write_text("contenu"),
        lambda study: (study.parent / "data/photo.jpg").write_text("a longer one"),
        lambda study: (study.parent / "data/new.jpg").write_text(""),
        lambda study: statement(study / "record.db", "UPDATE trials SET state = 'FAIL'"),
        lambda study: (study / "record.db").unlink(),
        lambda study: Spool(study / "spool.db").put("more", {"kind": "tags"}),
        lambda study: statement(
            study.parent / "mlflow.db", "UPDATE runs SET lifecycle_stage = 'deleted'"
        ),
        lambda study: statement(study.parent / "mlflow.db", "DELETE FROM logged_models"),
        lambda study: (study.parent / "mlflow.db").unlink(),
        lambda study: (study / "receipt.json").write_text("{"),
    ],
    ids=[
        *(
            "checkpoint damaged",
            "checkpoint gone",
            "features damaged",
            "photo changed",
            "photo more",
        ),
        *("record changed", "record gone", "event waits", "run deleted", "model deleted"),
        *("MLflow's store gone", "receipt damaged"),
    ],
)
def test_whatever_changed_sends_the_job_the_long_way(study, change):
    change(study)
    assert receipt.read(study, ASKED) is None


def test_changed_code_and_other_libraries_send_the_job_the_long_way(study, monkeypatch):
    monkeypatch.setattr(receipt, "_code", lambda: "another")
    assert receipt.read(study, ASKED) is None
    monkeypatch.undo()
    monkeypatch.setattr(receipt, "_libraries", lambda: 0)
    assert receipt.read(study, ASKED) is None


def test_a_study_that_a_driver_runs_is_refused_there_and_not_shown(study):
    with (study / "lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert receipt.read(study, ASKED) is None


@pytest.mark.parametrize("data", ["", "data"], ids=["on another machine", "too many files"])
def test_data_that_cannot_be_compared_leave_no_receipt(study, monkeypatch, data):
    monkeypatch.setattr(receipt, "MOST_FILES", 0)
    places = [str(study.parent / data) if data else ""]
    basis = Basis(asked=ASKED, data=places, made=[], tracking_uri="http://server")
    receipt.write(study, basis, "Best settings", {})
    assert not (study / "receipt.json").exists()

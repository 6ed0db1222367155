"""`jobs/sync.py`: what it says, and when it gives up."""

import pytest
from in_process import run_job
from mlflow import MlflowClient
from studies import finish, open_toy

from drmn.search.callbacks.mlflow_logger import MlflowLogger
from drmn.search.callbacks.study_metadata import StudyMetadata
from drmn.tracking.spool import Spool

ABOUT = StudyMetadata(
    experiment="own-fish",
    note="A note.",
    data="0123-fold1",
    profile={},
    lines=[],
    code={},
    options={"dataset": "own", "data_root": "fish"},
)
AWAY = "http://127.0.0.1:9"
"""The discard port: nobody is there."""


@pytest.fixture
def study(tmp_path):
    """Return the folder of a study with a trial."""
    folder = tmp_path / "studies" / "toy"
    folder.mkdir(parents=True)
    opened = open_toy(folder)
    MlflowLogger(Spool(folder / "spool.db"), folder, opened.record).on_study_start(ABOUT)
    finish(opened, [0.1, 0.2, 0.3])
    return folder


def test_a_server_that_does_not_answer_is_tried_as_long_as_asked_and_then_named(study, tmp_path):
    done = run_job("sync", tmp_path, study, "--tracking-uri", AWAY, "--wait", "0")
    first, last = done.stdout.splitlines()[0], done.stdout.splitlines()[-1]
    assert done.returncode == 1
    assert first.startswith(f"MLflow at {AWAY}: it does not answer (")
    assert first.endswith("; it is tried again, for 0 s at most.")
    assert last.startswith(f"MLflow at {AWAY} lacks {Spool(study / 'spool.db').count} entries of ")
    assert "it does not answer (" in last
    assert last.endswith("Nothing is lost: give this command again.")
    assert "has all" not in done.stdout

    uri = f"sqlite:///{tmp_path}/mlflow.db"  # and so it is
    done = run_job("sync", tmp_path, study, "--tracking-uri", uri)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0,
        f"MLflow at {uri} has all that the record of {study} holds.",
    )
    experiment = MlflowClient(uri).get_experiment_by_name("own-fish")
    assert len(MlflowClient(uri).search_runs([experiment.experiment_id])) == 2


def test_a_store_that_no_client_can_be_made_for_is_refused_before_the_record_is_read(tmp_path):
    done = run_job("sync", tmp_path, tmp_path, "--tracking-uri", "mysql+none://host/db")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --tracking-uri mysql+none://host/db: no client of it can")


def test_a_search_refuses_it_before_features_are_made(tmp_path):
    uri = ("--tracking-uri", "mysql+none://host/db")
    done = run_job("tune", tmp_path, "--dataset", "demo", *uri)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --tracking-uri mysql+none://host/db: no client of it can")
    assert list(tmp_path.iterdir()) == []

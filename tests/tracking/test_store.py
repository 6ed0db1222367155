"""The first client of a new database: its tables, once, whole, and of this MLflow."""

import subprocess
import sys

import pytest
import sqlalchemy
from mlflow import MlflowClient

from drmn.tracking.schema import SchemaError, revision, schema_problem
from drmn.tracking.store import connect
from drmn.tracking.uri import absolute

CONNECT = """
import sys
from drmn.tracking.store import connect
print("ready", flush=True)
sys.stdin.readline()
connect(sys.argv[1]).search_experiments()
"""


def at_once(uri, count=2):
    """Return the exit statuses and errors of processes that open a database at one moment."""
    command = [sys.executable, "-c", CONNECT, uri]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(count)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    return [(process.communicate()[1], process.returncode) for process in processes]


def test_two_processes_that_open_a_new_database_at_once_both_end_well(tmp_path):
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    ends = at_once(uri)
    assert [status for _, status in ends] == [0, 0], ends
    assert schema_problem(uri) == ""
    # One of them has made the tables, and the other found them.
    assert sum("Creating initial MLflow database tables" in said for said, _ in ends) == 1


@pytest.mark.slow
def test_two_processes_that_open_a_new_postgresql_at_once_both_end_well(postgres):
    uri = absolute(postgres.database())
    ends = at_once(uri)
    assert [status for _, status in ends] == [0, 0], ends
    assert schema_problem(uri) == ""


def test_a_database_of_a_killed_first_start_is_made_again(tmp_path):
    (tmp_path / ".mlflow.db.new").write_text("half a database")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert [each.name for each in connect(uri).search_experiments()] == ["Default"]
    assert not (tmp_path / ".mlflow.db.new").exists()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the URI of a database."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('schema')}/mlflow.db"
    connect(uri)
    return uri


@pytest.fixture
def of_revision(made):
    """Return a function that gives the database another revision, for a test."""
    engine, kept = sqlalchemy.create_engine(made), revision(made)

    def change(text):
        change_to = sqlalchemy.text("UPDATE alembic_version SET version_num = :text")
        with engine.begin() as connection:
            connection.execute(change_to, {"text": text})

    yield change
    change(kept)


def test_a_database_of_an_older_mlflow_is_left_alone_and_named_with_the_remedy(made, of_revision):
    of_revision("451aebb31d03")  # MLflow's first
    with pytest.raises(SchemaError) as refused:
        connect(made)
    assert str(refused.value).startswith(
        "its database has the older schema 451aebb31d03, and MLflow"
    )
    assert str(refused.value).endswith(f"then `mlflow db upgrade {made}`")
    assert revision(made) == "451aebb31d03"


def test_a_database_of_a_later_mlflow_is_named_as_such(made, of_revision):
    of_revision("f00df00df00d")
    with pytest.raises(SchemaError, match="schema f00df00df00d of a later MLflow, which MLflow 3"):
        connect(made)


def test_the_latest_schema_is_the_one_that_mlflow_makes(made):
    assert schema_problem(made) == ""
    assert len(MlflowClient(made).search_experiments()) == 1

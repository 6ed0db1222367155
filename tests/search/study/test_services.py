"""Services outside, at a job's start."""

import io

from rich.console import Console

from drmn.search.study.services import check_services


def said(uri):
    """Return what a job prints of MLflow's store at its start."""
    console = Console(file=io.StringIO(), width=500)
    check_services("", uri, console)
    return console.file.getvalue()


def test_an_mlflow_that_is_away_is_a_note_and_stops_nothing():
    text = said("http://127.0.0.1:9")  # the discard port: nobody is there
    assert text.startswith("note: MLflow at http://127.0.0.1:9: it does not answer (")
    assert text.endswith("entries wait in its spool.db until MLflow takes them.\n")


def test_nothing_is_said_of_a_database_that_is_to_be_made(tmp_path):
    assert said(f"sqlite:///{tmp_path}/mlflow.db") == ""

"""How a job says where MLflow shows what it did."""

import io

import pytest
from mlflow import MlflowClient
from rich.console import Console

from drmn.report.terminal import see_in_mlflow
from drmn.tracking import saved_view


def said(uri):
    shown = io.StringIO()
    see_in_mlflow(Console(file=shown, width=80), uri, "demo")
    return shown.getvalue().strip()


def test_of_a_file_the_command_that_serves_it(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert said(uri).endswith(f"-m drmn.tracking serve --experiment demo --uri {uri}")
    assert said("sqlite:///mlflow.db").endswith("-m drmn.tracking serve --experiment demo")


def test_of_a_server_that_is_away_its_address():
    assert said("http://127.0.0.1:9") == "See it in MLflow: http://127.0.0.1:9"


@pytest.mark.long
def test_of_a_server_the_view_of_the_experiment(tmp_path, monkeypatch):
    store = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    number = store.create_experiment("demo")
    monkeypatch.setattr(saved_view, "MlflowClient", lambda _: store)  # in a server's place
    assert said("http://there:5000/") == (
        f"See it in MLflow: http://there:5000/#/experiments/{number}/runs"
        "?viewStateShareKey=drmn&workflowType=machine_learning"
    )

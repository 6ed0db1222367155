"""Models in MLflow: which one is champion, and packages that are damaged."""

import json

import pytest
from mlflow import MlflowClient
from mlflow_store import new_store
from mlflow_trees import begin, runs, ship_all

from drmn.tracking import events, registry
from drmn.tracking.spool import Spool

EMPTY = (2).to_bytes(8, "little") + b"{}"
"""A safetensors file without tensors."""


@pytest.fixture(autouse=True)
def _no_example(monkeypatch):
    """What is in a package is of no matter here: MLflow is not to load it."""
    monkeypatch.setattr("drmn.tracking.registry.INPUT_EXAMPLE", None)


def package(folder, number):
    """Return the entry of a model in an event, with its package written."""
    folder.mkdir()
    for name in ("model.safetensors", "backbone.safetensors"):
        (folder / name).write_bytes(EMPTY)
    (folder / "about.json").write_text(json.dumps({"number": number}))
    return {"name": f"m{number}", "folder": str(folder), "step": 1}


def test_models_are_registered_and_only_a_better_one_becomes_champion(tmp_path):
    """The candidate is the latest; the champion changes on the same images alone."""
    uri = new_store(tmp_path)
    spool = Spool(tmp_path / "spool.db")
    champions = []
    for n, (value, data) in enumerate([(0.5, "a"), (0.4, "a"), (0.6, "a"), (0.9, "b")]):
        begin(spool, name=f"s{n}")
        model = package(tmp_path / f"package{n}", n) | {"run": f"s{n}"}
        told = {"name": "drmn-toy", "data": data, "value": value}
        spool.put(*events.models(f"s{n}", [model | {"metrics": {"best/H": value}}], told))
        ship_all(spool, uri)
        client = MlflowClient(uri)
        candidate = client.get_model_version_by_alias("drmn-toy", "candidate")
        assert int(candidate.version) == n + 1
        champions.append(int(client.get_model_version_by_alias("drmn-toy", "champion").version))
    assert champions == [1, 1, 3, 3]


@pytest.mark.parametrize("damaged", [0, 1])
def test_a_damaged_package_is_refused_and_all_other_entries_arrive(tmp_path, damaged):
    uri = new_store(tmp_path)
    spool = Spool(tmp_path / "spool.db")
    begin(spool)
    models = []
    for n in range(2):
        spool.put(*events.child("s", f"s/{n:04d}", f"s/{n}", {}, {}, at=1.0))
        models.append(package(tmp_path / f"package{n}", n) | {"run": f"s/{n:04d}", "metrics": {}})
    about = tmp_path / f"package{damaged}" / "about.json"
    about.write_text(about.read_text()[:-3])
    told = {"name": "drmn-toy", "data": "a", "value": 0.5}
    spool.put(*events.models("s", models, told))
    spool.put(*events.end("s", {}))
    ship_all(spool, uri)
    assert spool.count == 0
    ((event, why),) = spool.refused
    assert (event["kind"], event["run"]) == ("models", "s")
    assert why.startswith(f"1 of 2 models: {about.parent}: the model's files are damaged (")
    assert runs(uri)["s"].info.status == "FINISHED"
    client = MlflowClient(uri)
    home = client.get_experiment_by_name("toy").experiment_id
    assert [each.name for each in client.search_logged_models([home])] == [f"m{1 - damaged}"]
    # The best one is registered, and no other in its place.
    assert len(client.search_registered_models()) == damaged

    about.write_text(json.dumps({"number": damaged}))  # packed again: all of it arrives
    spool.clear()
    spool.put(*events.models("s", models, told))
    ship_all(spool, uri)
    assert spool.refused == []
    assert len(client.search_logged_models([home])) == 2
    assert len(client.search_registered_models()) == 1


class KilledError(BaseException):
    """A shipper's end, at any moment."""


@pytest.mark.parametrize("call", ["log_batch", "set_terminated", "set_logged_model_tags"])
def test_a_process_that_is_killed_while_it_logs_a_model_leaves_no_run_started(
    tmp_path, monkeypatch, call
):
    """MLflow starts a run again to log its model."""
    uri = new_store(tmp_path)
    spool = Spool(tmp_path / "spool.db")
    begin(spool)
    spool.put(*events.child("s", "s/0000", "s/0", {}, {}, at=1.0))
    spool.put(*events.end("s/0000", {}, at=2.0))
    spool.put(*events.end("s", {}))
    ship_all(spool, uri)
    client = MlflowClient(uri)
    ended = runs(uri)["s/0000"].info.end_time
    model = package(tmp_path / "package", 0) | {"run": "s/0000", "metrics": {"best/H": 0.5}}
    event = {
        "run": "s",
        "models": [model],
        "registered": {"name": "drmn-toy", "data": "a", "value": 0.5},
    }
    need = {key: run.info.run_id for key, run in runs(uri).items()}.__getitem__

    def killed(*_, **__):
        raise KilledError

    with monkeypatch.context() as dying:
        dying.setattr(MlflowClient, call, killed)
        with pytest.raises(KilledError):
            registry.agree(client, event, need)
    registry.agree(client, event, need)
    (logged,) = client.search_logged_models([runs(uri)["s"].info.experiment_id])
    assert [(metric.key, metric.value) for metric in logged.metrics] == [("best/H", 0.5)]
    info = runs(uri)["s/0000"].info
    assert info.status == "FINISHED"
    assert info.end_time >= ended
    registry.agree(client, event, need)  # what is whole stays
    assert client.search_logged_models([info.experiment_id])[0].model_id == logged.model_id

"""From the spool to MLflow: the tree of runs, once, whatever dies."""

import io
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow_store import new_store
from mlflow_trees import begin, check_tree, fill, runs, ship_all
from rich.console import Console

from drmn.tracking import events
from drmn.tracking.mlflow_writer import MlflowWriter
from drmn.tracking.shipper import ship
from drmn.tracking.shipper_process import ShipperProcess, drain, refusals
from drmn.tracking.spool import ShipperState, Spool


@pytest.fixture
def uri(tmp_path):
    """Return the address of an empty MLflow store."""
    return new_store(tmp_path)


def test_the_tree_is_study_and_trials_with_their_curves(tmp_path, uri):
    spool = Spool(tmp_path / "spool.db")
    fill(spool)
    ship_all(spool, uri)
    check_tree(uri)
    tree = runs(uri)
    assert tree["s"].data.params == {"policy.sampler": "tpe"}
    states = {k: (r.info.status, r.data.tags.get("state")) for k, r in tree.items()}
    assert states == {
        "s": ("FINISHED", None),
        "s/0000": ("FINISHED", "COMPLETE"),
        "s/0001": ("FINISHED", "PRUNED"),  # KILLED would look like a failure
        "s/0002": ("FAILED", "FAIL"),
    }


def test_telling_all_twice_changes_nothing(tmp_path, uri):
    spool = Spool(tmp_path / "spool.db")
    fill(spool)
    ship_all(spool, uri)
    spool.clear()  # it was lost: the record tells all again, at the same times
    fill(spool)
    ship_all(spool, uri)
    check_tree(uri)


def test_a_shipper_that_dies_between_telling_and_noting_tells_again_without_harm(tmp_path, uri):
    spool = Spool(tmp_path / "spool.db")
    fill(spool)
    for part in range(1, 6):  # told, but never marked as shipped
        MlflowWriter(uri).apply([event for _, event in spool.waiting(3 * part)])
    ship_all(spool, uri)
    check_tree(uri)


@pytest.fixture
def refused(tmp_path, uri):
    """Return a shipped spool of which MLflow has refused one event."""
    spool = Spool(tmp_path / "spool.db")
    begin(spool)
    spool.put(*events.metrics("s", {"no'such;name": 1.0}, 1))
    spool.put(*events.end("s", {"state": "COMPLETE"}))
    ship_all(spool, uri)
    return spool


def test_what_mlflow_refuses_for_good_does_not_hold_up_the_rest(refused, uri):
    assert refused.count == 0
    assert runs(uri)["s"].info.status == "FINISHED"


def test_what_mlflow_refuses_is_kept_and_counted_not_called_sent(refused, uri):
    spool = refused
    ((event, why),) = spool.refused
    assert (event["kind"], event["run"], spool.count) == ("metrics", "s", 0)
    assert "no'such;name" in why
    said = refusals(spool)
    assert said.startswith("it refused 1, the first (metrics of s): ")
    console = Console(file=io.StringIO(), width=500)
    drain(ShipperProcess(spool.path, uri), spool, uri, console)
    assert f"MLflow at {uri} lacks 1 entries: {said}" in console.file.getvalue()
    spool.clear()
    assert spool.refused == []


@pytest.mark.parametrize("deleted", ["run", "experiment"])
def test_what_was_deleted_in_the_ui_is_refused_live_and_restored_by_sync(tmp_path, uri, deleted):
    spool = Spool(tmp_path / "spool.db")
    fill(spool)
    ship_all(spool, uri)
    client, run = MlflowClient(uri), runs(uri)["s"]
    if deleted == "run":
        for each in runs(uri).values():
            client.delete_run(each.info.run_id)
    else:
        client.delete_experiment(run.info.experiment_id)
    spool.put(*events.metrics("s/0000", {"val/H": 0.5}, 99))
    ship_all(spool, uri)
    assert [event["run"] for event, _ in spool.refused] == ["s/0000"]
    spool.clear()
    fill(spool)
    ship(spool, uri, closed=lambda: True, restore=True)
    assert spool.refused == []
    check_tree(uri)
    assert runs(uri)["s"].info.run_id == run.info.run_id


def artifacts(uri):
    """Return the files of the run `s` and what is in them."""
    client = MlflowClient(uri)
    run = runs(uri)["s"].info.run_id
    paths = [item.path for item in client.list_artifacts(run, "pictures")]
    return {path: Path(client.download_artifacts(run, path)).read_bytes() for path in paths}


def test_a_file_is_shipped_into_its_folder_and_telling_it_again_changes_nothing(tmp_path, uri):
    spool = Spool(tmp_path / "spool.db")
    begin(spool)
    pictures = {f"epoch-{n:03d}.png": b"picture %d" % n for n in (1, 2)}
    for name, content in pictures.items():
        (tmp_path / name).write_bytes(content)
        spool.put(*events.artifact("s", tmp_path / name, "pictures"))
        spool.put(*events.artifact("s", tmp_path / name, "pictures"))
    assert spool.count == 1 + 2
    ship_all(spool, uri)
    shown = {f"pictures/{name}": content for name, content in pictures.items()}
    assert artifacts(uri) == shown
    spool.clear()  # what `sync` does
    for name in pictures:
        spool.put(*events.artifact("s", tmp_path / name, "pictures"))
    ship_all(spool, uri)
    assert artifacts(uri) == shown


def test_a_file_with_new_content_takes_the_place_of_the_old(tmp_path, uri):
    spool = Spool(tmp_path / "spool.db")
    begin(spool)
    for content in (b"before", b"after"):
        (tmp_path / "a.png").write_bytes(content)
        spool.put(*events.artifact("s", tmp_path / "a.png", "pictures"))
        ship_all(spool, uri)
    assert artifacts(uri) == {"pictures/a.png": b"after"}


def test_a_file_that_is_gone_holds_up_neither_other_files_nor_what_follows(tmp_path, uri, capsys):
    spool = Spool(tmp_path / "spool.db")
    begin(spool)
    for name in ("gone.png", "kept.png"):
        (tmp_path / name).write_bytes(b"picture")
        spool.put(*events.artifact("s", tmp_path / name, "pictures"))
    spool.put(*events.end("s", {}))
    (tmp_path / "gone.png").unlink()
    ship_all(spool, uri)
    assert artifacts(uri) == {"pictures/kept.png": b"picture"}
    assert runs(uri)["s"].info.status == "FINISHED"
    assert "gone.png: gone before it was shipped." in capsys.readouterr().out


def test_infinity_is_not_told_as_a_number():
    _, event = events.metrics("r", {"a": float("inf"), "b": float("nan"), "c": 1.0}, 1)
    assert event["metrics"] == {"c": 1.0}


def test_a_file_that_cannot_be_read_is_refused_and_the_rest_arrives(tmp_path, uri):
    spool = Spool(tmp_path / "spool.db")
    begin(spool)
    (tmp_path / "a.png").write_bytes(b"picture")
    spool.put(*events.artifact("s", tmp_path / "a.png", "pictures"))
    spool.put(*events.end("s", {}))
    (tmp_path / "a.png").unlink()
    (tmp_path / "a.png").mkdir()
    ship_all(spool, uri)
    ((_, why),) = spool.refused
    assert why == f"{tmp_path}/a.png: it cannot be read (Is a directory)."
    assert runs(uri)["s"].info.status == "FINISHED"


def test_a_shipper_leaves_as_soon_as_another_takes_over(tmp_path, uri):
    spool = Spool(tmp_path / "spool.db")
    ship(spool, uri, closed=lambda: spool.claim(1))  # and not for ever
    assert spool.shipper.pid == 1


def test_without_a_driver_it_gives_up_on_a_store_that_does_not_answer(tmp_path):
    spool = Spool(tmp_path / "spool.db")
    begin(spool)
    said = []
    away = "http://127.0.0.1:9"  # the discard port: nobody is there
    ship(spool, away, closed=lambda: True, patience=0, say=lambda *given: said.append(given))
    ((problem, _),) = said
    assert problem.text == "it does not answer (Connection refused)"
    assert not problem.lasting
    assert (spool.count, spool.shipper.text) == (1, problem.text)


def test_a_shipper_that_ends_a_turn_leaves_the_claim_of_the_next(tmp_path):
    spool = Spool(tmp_path / "spool.db")
    spool.claim(1)
    spool.note_shipper(ShipperState(1, tried=True))
    assert spool.shipper == ShipperState(1, tried=True)
    spool.claim(2)
    spool.note_shipper(ShipperState(1, tried=True, text="no answer"))
    assert spool.shipper == ShipperState(2)
    spool.clear()
    spool.note_shipper(ShipperState(2, tried=True))
    assert spool.shipper == ShipperState(2, tried=True)

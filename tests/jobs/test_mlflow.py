"""What a search leaves in MLflow: the tree, its models, and that all of it can be told again."""

import base64
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import urllib.request
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch
from browser import SHOTS, page
from mlflow import MlflowClient
from paths import ROOT
from searches import search
from web import answers, free_port, running, until

from drmn.data.splits import development
from drmn.experiment.trial_checkpoints import trial_folder
from drmn.search.analysis.pack_trials import Packer
from drmn.search.storage.studies import load_study
from drmn.search.trial_summary import RUNS, ranking, summarize_all
from drmn.tracking import model_package, saved_view
from drmn.tracking.fetch_model import package_files
from drmn.tracking.package_files import size_of
from drmn.training.checkpoint import BEST

CURVES = """
SELECT tags.value, metrics.key, metrics.value, metrics.timestamp, metrics.step, metrics.is_nan
FROM metrics JOIN tags ON tags.run_uuid = metrics.run_uuid AND tags.key = 'drmn.run'
ORDER BY 1, 2, 5, 4, 3
"""
PARAMS = """
SELECT tags.value, params.key, params.value
FROM params JOIN tags ON tags.run_uuid = params.run_uuid AND tags.key = 'drmn.run'
ORDER BY 1, 2
"""
RUNS_THERE = """
SELECT tags.value, runs.name, runs.status, runs.start_time
FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = 'drmn.run' ORDER BY 1
"""


@pytest.fixture(scope="module")
def finished(demo, tmp_path_factory):
    """Return the folder and the outcome of a search on the demo, with all that it logs."""
    folder = tmp_path_factory.mktemp("shown")
    more = ("--system-metrics", "--policy.pruner", "none", "--pictures.every", "2")
    return folder, search(folder, demo, "--dataset", "demo", *more, plain=())[1]


@pytest.fixture
def client(finished):
    """Return a client of the search's MLflow."""
    uri = f"sqlite:///{finished[0]}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    return MlflowClient(uri)


@pytest.fixture
def champion(client):
    """Return the model that is registered as the best one."""
    assert int(client.get_model_version_by_alias("drmn-demo", "champion").version) == 1
    return mlflow.pyfunc.load_model("models:/drmn-demo@champion")


def experiment(client):
    return client.get_experiment_by_name("demo").experiment_id


def runs(client):
    return {r.data.tags["drmn.run"]: r for r in client.search_runs([experiment(client)])}


def ranked(outcome):
    """Return the trials, the best first."""
    return sorted(outcome["trials"], key=lambda trial: -trial["value"])


def photos(demo, outcome, count=4):
    """Return files of training images, and their places in the store."""
    data = development.open_store(demo / "features" / outcome["data"])
    rows = data.train.rows[: 10 * count : 10]
    names = pd.read_parquet(demo / "features" / outcome["data"] / "images.parquet")["path"]
    folder = demo / "demo" / "DEMO" / "images"
    return [(folder / names[row]).read_bytes() for row in rows.tolist()], rows, data


def test_the_study_tells_its_code_its_data_its_figures_and_what_it_came_to(finished, client):
    _, outcome = finished
    (study,) = (run for key, run in runs(client).items() if "/" not in key)
    tags, metrics = study.data.tags, study.data.metrics
    assert tags["best_trial"] == str(outcome["best"]["trial"])
    if (ROOT / ".git").exists():
        commit = subprocess.run(
            ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        assert tags["mlflow.source.git.commit"] == commit.stdout.strip()
    (data,) = (each.dataset for each in study.inputs.dataset_inputs)
    assert data.name == "demo"
    assert data.digest.endswith("-fold1")
    assert json.loads(data.profile)["features"] == outcome["data"]
    states = [trial["state"] for trial in outcome["trials"]]
    assert metrics["trials/complete"] == states.count("COMPLETE")
    assert metrics["best/H"] == pytest.approx(outcome["best"]["H"])
    assert metrics["spent/epochs"] == outcome["spent"]["epochs"]
    shown = {item.path for item in client.list_artifacts(study.info.run_id, "figures")}
    assert shown == {"figures/study.html"}
    page = Path(client.download_artifacts(study.info.run_id, "figures/study.html")).read_text()
    assert f"The best is trial {outcome['best']['trial']}: val/H" in page
    assert "<svg" in page
    lock = Path(client.download_artifacts(study.info.run_id, "provenance/environment.txt"))
    assert f"torch=={torch.__version__.split('+')[0]}" in lock.read_text()


def test_a_trial_tells_fold_tier_seed_and_the_flags_that_make_it_again(finished, client):
    _, outcome = finished
    best = outcome["best"]["trial"]
    (run,) = (run for key, run in runs(client).items() if key.endswith(f"/{best:04d}"))
    tags = run.data.tags
    assert (tags["fold"], tags["tier"], tags["seed"]) == ("1", "frozen", "0")
    assert f"--optim.lr {outcome['settings']['optim.lr']}" in tags["command"]
    seen = run.data.metrics["spent/worker_seconds"]
    curve = client.get_metric_history(run.info.run_id, "cost/worker_seconds")
    assert seen == pytest.approx(sum(point.value for point in curve))
    assert run.data.metrics["system/process_memory_megabytes"] > 50
    shown = {item.path for item in client.list_artifacts(run.info.run_id, "pictures")}
    drawn = {"pictures/epoch-002.png", "pictures/epoch-003.png"}
    assert shown == drawn | {"pictures/attention.png", "pictures/seen-unseen.png"}


def test_the_record_knows_the_runs(finished, client, demo):
    _, outcome = finished
    known = load_study(demo / "studies", outcome["study"]).user_attrs[RUNS]
    assert known == {key: run.info.run_id for key, run in runs(client).items()}


def trial_models(client):
    """Return the models of trials, by their names."""
    found = client.search_logged_models([experiment(client)])
    return {model.name: model for model in found if not model.name.startswith("backbone-")}


def test_each_trial_has_a_model_which_knows_its_run_figures_and_data(finished, client):
    _, outcome = finished
    there = trial_models(client).values()
    assert {model.name for model in there} == {f"shown0-{t['number']:03d}" for t in ranked(outcome)}
    assert len(there) == 4
    for model in there:
        of = client.get_run(model.source_run_id)
        assert of.data.tags["drmn.run"] == model.tags["drmn.run"]
        assert [output.model_id for output in of.outputs.model_outputs] == [model.model_id]
    (first,) = (m for m in there if m.name == f"shown0-{outcome['best']['trial']:03d}")
    (figure,) = (metric for metric in first.metrics if metric.key == "best/H")
    assert figure.value == pytest.approx(outcome["best"]["H"])
    assert figure.dataset_digest.endswith("-fold1")
    assert first.source_run_id == figure.run_id
    for alias in ("candidate", "champion"):
        assert client.get_model_version_by_alias("drmn-demo", alias).source == (
            f"models:/{first.model_id}"
        )


def test_the_model_of_any_trial_takes_photos_with_the_backbone_that_all_share(
    finished, client, demo
):
    _, outcome = finished
    worst = ranked(outcome)[-1]["number"]
    model = trial_models(client)[f"shown0-{worst:03d}"]
    of_all = client.search_logged_models(
        [experiment(client)], filter_string="name LIKE 'backbone-%'"
    )
    assert len(of_all) == 1
    names = [Path(item.path).name for item in client.list_artifacts(model.source_run_id)]
    assert "backbone.safetensors" not in names
    shown, _, _ = photos(demo, outcome, count=4)
    folder = trial_folder(demo / "studies" / outcome["study"], worst) / "package"
    packed = model_package.load(folder)
    loaded = mlflow.pyfunc.load_model(f"models:/{model.model_id}")
    answers = loaded.predict(pd.DataFrame({"image": shown}))
    exact = packed.answer(packed.maps(shown)).scores.amax(dim=1)
    assert answers["score"].tolist() == pytest.approx(exact.tolist(), abs=1e-5)
    fetched = package_files(f"models:/{model.model_id}", client.tracking_uri)
    again = model_package.load(*fetched)
    assert torch.equal(again.answer(again.maps(shown)).scores.amax(dim=1), exact)


def test_the_worst_models_are_left_out_and_a_damaged_checkpoint_costs_its_own_alone(
    finished, demo, tmp_path
):
    _, outcome = finished
    study = shutil.copytree(demo / "studies" / outcome["study"], tmp_path / outcome["study"])
    best, second, third, worst = ranking(
        summarize_all(load_study(demo / "studies", outcome["study"]))
    )
    _, _, data = photos(demo, outcome, count=1)
    drawn = []
    store = demo / "features" / outcome["data"]
    packer = Packer(study, data, store, drawn.append)
    sizes = [size_of(trial_folder(study, row.number) / "package") for row in (best, second, third)]
    made = packer.pack([best, second, third, worst], sum(sizes[:2]))
    assert (made.rows, made.over, made.damaged) == ([best, second], 2, [])
    there = sorted(int(path.parent.name) for path in study.glob("trials/*/package"))
    assert there == sorted([best.number, second.number])
    made = packer.pack([best, second, third, worst], 0)
    assert (made.rows, made.over) == ([best], 3)  # in any case

    path = trial_folder(study, third.number) / BEST
    path.write_bytes(path.read_bytes()[:-1])
    made = packer.pack([best, second, third, worst], 1e9)
    assert made.rows == [best, second, worst]
    (sentence,) = made.damaged
    assert sentence.startswith(f"{path}: the checkpoint of trial {third.number} is gone or damaged")
    assert drawn == []  # that of the best one was whole all the time


def test_the_model_is_the_network_that_was_trained(finished, champion, demo):
    _, outcome = finished
    shown, rows, data = photos(demo, outcome, count=8)
    best = outcome["best"]["trial"]
    packed = model_package.load(trial_folder(demo / "studies" / outcome["study"], best) / "package")
    exact = packed.answer(packed.maps(shown))
    answers = champion.predict(pd.DataFrame({"image": shown}), params={"attributes": 3, "top": 2})
    assert answers["score"].tolist() == pytest.approx(exact.scores.amax(dim=1).tolist(), abs=1e-5)
    # The stored features were rounded, so of the two ways to a class one may differ on a tie.
    stored = packed.answer({s: level.rows(rows).float() for s, level in data.train.levels.items()})
    assert list(answers["class"]) == [data.classes.names[i] for i in stored.scores.argmax(dim=1)]
    probabilities = exact.probabilities.sum(dim=1)
    assert torch.allclose(probabilities, torch.ones_like(probabilities))
    for row in answers.itertuples():
        assert row.top[0]["class"] == row._1
        assert len(row.top) == 2
        shares = [each["share"] for each in row.attributes]
        assert len(shares) == 3
        assert shares == sorted(shares, reverse=True)


def test_base64_is_taken_too_and_attention_is_told_if_asked_for(finished, champion, demo):
    (photo, *_), _, _ = photos(demo, finished[1])
    plain = champion.predict(pd.DataFrame({"image": [photo]}))
    text = pd.DataFrame({"image": [base64.b64encode(photo).decode()]})
    looked = champion.predict(text, params={"attention": True})
    assert looked["class"].tolist() == plain["class"].tolist()
    assert "attention" not in plain["attributes"][0][0]
    heat = torch.tensor(looked["attributes"][0][0]["attention"])
    assert (heat.ndim, heat.shape[0], float(heat.max())) == (2, heat.shape[1], 1.0)


def test_a_class_that_training_never_saw_is_recognised_by_its_attributes(finished, champion, demo):
    """The attributes that a network reads off a photo describe a class that suits it perfectly."""
    _, outcome = finished
    (photo, *_), _, data = photos(demo, outcome)
    best = outcome["best"]["trial"]
    packed = model_package.load(trial_folder(demo / "studies" / outcome["study"], best) / "package")
    read = packed.answer(packed.maps([photo])).attributes[0].clamp(min=0)
    frame = pd.DataFrame({"image": [photo]})
    told = dict(zip(data.classes.attribute_names, read.tolist(), strict=True))
    for row in (read.tolist(), told):
        answer = champion.predict(frame, params={"classes": json.dumps({"okapi": row}), "top": 60})
        assert answer["class"].tolist() == ["okapi"]
        assert len(answer["top"][0]) == len(data.classes.names) + 1
        assert answer["top"][0][0]["seen"] is False


@pytest.mark.parametrize(
    "case",
    [
        (b"no image", "", "image 0: not a readable image (it is no image of a known format)"),
        ("%%%", "", "image must be an image file's bytes, or these in base64"),
        (None, "[1]", 'classes must be such as {"okapi": {"stripes": 1}}.'),
        (None, "{", "classes: no JSON"),
        (None, '{"okapi": [1]}', "class 'okapi' needs 24 finite attributes, not all 0; got [1]."),
        (None, '{"okapi": {"crest::yess": 1}}', "there is no attribute 'crest::yess'; is it"),
    ],
)
def test_a_bad_request_is_told_in_a_sentence(finished, champion, demo, case):
    (image, classes, message), ((photo, *_), _, data) = case, photos(demo, finished[1])
    message = message.replace("24", str(len(data.classes.attribute_names)))
    frame = pd.DataFrame({"image": [image or photo]})
    with pytest.raises(mlflow.exceptions.MlflowException) as refused:
        champion.predict(frame, params={"classes": classes})
    assert message in str(refused.value)
    assert refused.value.get_http_status_code() == 400


def test_the_model_loads_where_this_checkout_is_not(finished, client, champion, demo, tmp_path):
    """Without `site` no editable install is seen, and the folder has nothing of ours."""
    (photo, *_), _, _ = photos(demo, finished[1])
    (tmp_path / "photo.png").write_bytes(photo)
    script = f"""
import sys
sys.path.append({sysconfig.get_paths()["purelib"]!r})
import mlflow, pandas, pathlib
mlflow.set_tracking_uri({client.tracking_uri!r})
model = mlflow.pyfunc.load_model("models:/drmn-demo@champion")
photo = pathlib.Path("photo.png").read_bytes()
model = mlflow.pyfunc.load_model("models:/drmn-demo@champion")
print(model.predict(pandas.DataFrame({{"image": [photo]}}))["class"][0])
import drmn
print(drmn.__path__[0])
"""
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer, place = done.stdout.splitlines()[-2:]
    assert not Path(place).is_relative_to(ROOT)
    assert champion.predict(pd.DataFrame({"image": [photo]}))["class"].tolist() == [answer]


def test_a_served_model_answers_a_request_with_a_photo(finished, client, champion, demo):
    folder, outcome = finished
    (photo, *_), _, _ = photos(demo, outcome)
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        "models:/drmn-demo@champion",
    ]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    # As in a shell with the environment active: MLflow looks for its server on the path.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"MLFLOW_TRACKING_URI": client.tracking_uri, "PATH": path}
    with running(command, folder / "serve.log", environment) as server:
        until(lambda: answers(f"http://127.0.0.1:{port}/ping"), 180, server)
        asked = {
            "dataframe_split": {
                "columns": ["image"],
                "data": [[base64.b64encode(photo).decode()]],
            },
            "params": {"top": 3},
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            (row,) = json.load(response)["predictions"]
    (expected,) = champion.predict(pd.DataFrame({"image": [photo]}))["class"]
    assert row["class"] == expected
    assert row["top"][0]["class"] == expected
    assert len(row["top"]) == 3


def sync(folder, uri):
    command = [sys.executable, ROOT / "jobs" / "sync.py", folder, "--tracking-uri", uri]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "has all that the record of" in done.stdout


def content(path):
    """Return what a database holds of each run, as rows."""
    database = sqlite3.connect(path)
    return [database.execute(sql).fetchall() for sql in (CURVES, PARAMS, RUNS_THERE)]


def test_a_lost_database_is_told_all_again_from_the_record(finished, client, demo, tmp_path):
    folder, outcome = finished
    study = demo / "studies" / outcome["study"]
    before = content(folder / "mlflow.db")
    sync(study, f"sqlite:///{tmp_path}/mlflow.db")
    assert content(tmp_path / "mlflow.db") == before
    other = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert trial_models(other).keys() == trial_models(client).keys()
    for key, run in runs(client).items():
        again = runs(other)[key]
        for place in ("figures", "provenance", "pictures"):
            told = [i.path for i in client.list_artifacts(run.info.run_id, place)]
            assert [i.path for i in other.list_artifacts(again.info.run_id, place)] == told


def test_telling_a_database_that_was_not_lost_changes_nothing(finished, client, demo):
    folder, outcome = finished
    before, models = (
        content(folder / "mlflow.db"),
        client.search_logged_models([experiment(client)]),
    )
    sync(demo / "studies" / outcome["study"], client.tracking_uri)
    assert content(folder / "mlflow.db") == before
    there = client.search_logged_models([experiment(client)])
    assert {m.model_id for m in there} == {m.model_id for m in models}


def test_a_study_that_is_not_there_cannot_be_told(tmp_path):
    for folder, message in ((tmp_path / "none", "no folder"), (tmp_path, "There is no study")):
        command = [sys.executable, ROOT / "jobs" / "sync.py", folder]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow  # a browser, minutes
def test_a_person_finds_the_study_its_trials_their_curves_and_the_model(finished, client):
    """In a real browser; the pictures are in results/screens."""
    folder, outcome = finished
    study, best = outcome["study"], f"{outcome['study']}/{outcome['best']['trial']:03d}"
    port, where = free_port(), experiment(client)
    command = [sys.executable, "-m", "drmn.tracking", "serve", "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    environment = {"MLFLOW_TRACKING_URI": client.tracking_uri}
    with page() as tab, running(command, folder / "serve.log", environment) as server:
        until(lambda: answers(f"{address}/health"), 180, server)
        tab.goto(saved_view.link(address, where, saved_view.TREE_VIEW_KEY))
        tab.get_by_text("8 matching runs").wait_for()  # the study, three baselines, four trials
        row = tab.get_by_role("row").filter(has=tab.get_by_role("link", name=study, exact=True))
        assert tab.get_by_role("link", name=best, exact=True).count() == 0
        row.get_by_role("button").first.click()
        tab.get_by_role("link", name=best, exact=True).wait_for()
        tab.screenshot(path=SHOTS / "1-study-and-trials.png")

        # What `serve` prints: the best one first.
        assert (
            f"MLflow will be at {saved_view.link(address, where)}"
            in (folder / "serve.log").read_text()
        )
        tab.goto("about:blank")
        tab.goto(saved_view.link(address, where))
        tab.get_by_text("Sort: best/H").wait_for()
        tab.get_by_role("link", name=best, exact=True).wait_for()
        shown = tab.get_by_role("link").filter(has_text=study).all_inner_texts()
        ranking = [f"{study}/{trial['number']:03d}" for trial in ranked(outcome)]
        assert [name for name in shown if "/" in name] == ranking
        tab.screenshot(path=SHOTS / "2-best-first.png")

        tab.get_by_role("link", name=best, exact=True).click()
        tab.get_by_text("About this run").wait_for()
        tab.get_by_role("tab", name="Model metrics").click()
        tab.get_by_placeholder("Search metric charts").fill("val/")
        tab.get_by_text(f"{best} (val/H)").first.wait_for()
        tab.wait_for_timeout(1500)  # the curves are drawn
        tab.screenshot(path=SHOTS / "3-curves.png")

        tab.get_by_role("tab", name="Overview").click()
        tab.get_by_role("link", name="drmn-demo").click()
        tab.get_by_text("champion").first.wait_for()
        tab.screenshot(path=SHOTS / "4-model.png")
    assert len(list(SHOTS.glob("*.png"))) >= 4

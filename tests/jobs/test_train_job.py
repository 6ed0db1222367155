"""jobs/train.py as a person runs it: one worker and two, stopped, killed and resumed."""

import json
import os
import signal
import subprocess
import sys

import mlflow
import pandas as pd
import psutil
import pytest
from in_process import run_job
from kills import kill_tree
from machines import began, until
from mlflow import MlflowClient
from mlflow_store import new_store
from paths import ROOT
from studies import locked, open_toy

from drmn.search.storage.studies import load_study, study_names
from drmn.training.checkpoint import BEST, load

LONG = ("--optim.epochs", "8")
SMALL = ("--model.sit", "attr", "--model.width", "64", "--model.sit-dropout", "0")


def arguments(demo, folder, *more):
    return [
        *("--dataset", "demo", *SMALL, "--results", str(demo), "--run", folder.name),
        *("--json", str(folder / "out.json"), "--tracking-uri", new_store(folder)),
        *map(str, more),
    ]


def start(demo, folder, *more):
    command = [sys.executable, str(ROOT / "jobs" / "train.py"), *arguments(demo, folder, *more)]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def run(demo, folder, *more):
    done = run_job("train", folder, *arguments(demo, folder, *more), ray=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout, json.loads((folder / "out.json").read_text())


def losses(plain):
    return [epoch["loss/total"] for epoch in plain["epochs"]]


def figures(plain):
    return [
        {k: v for k, v in epoch.items() if not k.startswith("cost/")} for epoch in plain["epochs"]
    ]


def record(demo, folder):
    return demo / "runs" / folder.name / "record.db"


def mlflow_run(folder):
    """Return a client and the only run of the demo's experiment."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "demo"]
    (found,) = client.search_runs([experiment.experiment_id])
    return client, found


@pytest.fixture(scope="module")
def alone(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return folder, *run(demo, folder, *LONG)


def test_it_shows_each_epoch_and_the_line_to_beat(alone):
    _, text, plain = alone
    assert [e["epoch"] for e in plain["epochs"]] == list(range(1, 9))
    assert text.count("epoch 8 of 8: loss") == 1
    assert "ESZSL, same features and split" in text
    assert plain["baselines"].keys() == {"ESZSL", "cosine", "softmax"}
    assert "-m drmn.tracking serve" in text.replace("\n", " ")
    best = max(plain["epochs"], key=lambda epoch: epoch["val/H"])
    assert plain["best"]["H"] == best["val/H"]


def test_the_run_is_in_mlflow_with_its_curves_and_a_model_that_takes_photos(demo, alone):
    folder, _, plain = alone
    client, found = mlflow_run(folder)  # flat: no study above it, no baselines beside it
    assert (found.info.run_name, found.info.status) == (folder.name, "FINISHED")
    assert (found.data.tags["kind"], found.data.tags["tier"]) == ("run", "frozen")
    assert found.data.tags["state"] == "COMPLETE"
    assert found.data.params["model.width"] == "64"
    for name in ("loss/total", "train/grad_norm", "val/H", "cost/worker_seconds"):
        steps = [m.step for m in client.get_metric_history(found.info.run_id, name)]
        assert steps == list(range(1, 9))
    assert found.data.metrics["cost/images_per_second"] > 0
    assert found.data.metrics["best/H"] == pytest.approx(plain["best"]["H"])
    assert found.data.metrics["baseline/ESZSL_H"] > 0
    drawn = [file.path for file in client.list_artifacts(found.info.run_id, "pictures")]
    names = ("attention.png", "epoch-005.png", "epoch-008.png", "seen-unseen.png")
    assert drawn == [f"pictures/{name}" for name in names]
    (model,) = client.search_logged_models([found.info.experiment_id])
    assert model.name == folder.name
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    photo = next((demo / "demo").rglob("images/*/*")).read_bytes()
    answer = mlflow.pyfunc.load_model(model.model_uri).predict(pd.DataFrame({"image": [photo]}))
    assert list(answer.columns) == ["class", "score", "probability", "top", "attributes"]


def test_a_lost_mlflow_gets_all_of_a_run_from_its_record(demo, alone, tmp_path):
    folder, _, _ = alone
    target = f"sqlite:///{tmp_path}/mlflow.db"
    done = run_job("sync", tmp_path, demo / "runs" / folder.name, "--tracking-uri", target)
    assert done.returncode == 0, done.stderr
    (_, before), (client, after) = mlflow_run(folder), mlflow_run(tmp_path)
    assert after.data.metrics == before.data.metrics
    assert after.data.params == before.data.params
    drawn = client.list_artifacts(after.info.run_id, "pictures")
    assert len(drawn) == 4


def test_the_same_command_says_the_same_without_training(demo, alone):
    folder, text, before = alone
    said, again = run(demo, folder, *LONG)
    assert again == before
    assert said == text


def test_a_run_has_a_status_and_is_not_stopped_when_nobody_runs_it(demo, alone):
    folder, _, plain = alone
    name = ("--run", folder.name, "--results", demo)
    shown = run_job("train", folder, "--status", *name)
    best = f"{100 * plain['best']['H']:.1f} (trial 0)"
    assert f"run {folder.name}: trials: 1 complete; best {best}\n" in shown.stdout
    stopped = run_job("train", folder, "--stop", *name)
    assert stopped.returncode == 2
    assert f"Run {folder.name} is run by no process of this machine" in stopped.stderr


def test_a_run_in_postgresql_is_no_study_of_its_name(demo, tmp_path, postgres):
    url = postgres.database()
    with locked(url, tmp_path.name) as storage:
        study = open_toy(demo / "studies" / tmp_path.name, storage=storage)
        _, plain = run(demo, tmp_path, "--optim.epochs", 1, "--storage", url)
        assert study.ask().number == 0
    assert len(plain["epochs"]) == 1
    assert not record(demo, tmp_path).exists()
    known = (
        load_study(demo / "runs", tmp_path.name, url),
        load_study(demo / "studies", tmp_path.name, url),
    )
    assert [[t.state.name for t in each.trials] for each in known] == [["COMPLETE"], ["RUNNING"]]
    assert study_names(demo / "studies", url) == study_names(demo / "runs", url) == [tmp_path.name]


def test_other_settings_are_refused_with_the_difference(demo, alone):
    folder, _, _ = alone
    done = run_job("train", folder, *arguments(demo, folder, "--optim.epochs", 9))
    assert done.returncode == 2
    assert "started with other settings: --optim.epochs was 8, now 9" in done.stderr
    assert "--run NAME to start another" in done.stderr


def test_a_run_of_an_earlier_version_is_refused(demo, tmp_path):
    folder = demo / "runs" / tmp_path.name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    done = run_job("train", tmp_path, *arguments(demo, tmp_path))
    assert done.returncode == 2
    assert f"Run {tmp_path.name} was started by an earlier version" in done.stderr


@pytest.mark.slow  # a search's is in tests/faults, and goes the same way
def test_a_killed_driver_goes_on_to_the_same_numbers(demo, tmp_path, alone):
    job = start(demo, tmp_path, *LONG)
    until(lambda: began(record(demo, tmp_path)), job)
    kill_tree(job)
    (state,) = (demo / "runs" / tmp_path.name).rglob("last.pt")
    state.write_bytes(state.read_bytes()[:1000])  # cut off too: it is trained anew
    assert figures(run(demo, tmp_path, *LONG)[1]) == figures(alone[2])


@pytest.mark.slow  # three jobs
def test_a_run_that_raises_says_why_and_the_same_command_resumes_it(demo, tmp_path, alone):
    job = start(demo, tmp_path, *LONG)
    until(lambda: began(record(demo, tmp_path)), job)
    kill_tree(job)
    (state,) = (demo / "runs" / tmp_path.name).rglob("last.pt")
    reached = load(state)["number"]
    mistake = ("--pictures.images", "no-such-image")  # it is found where the trial runs
    done = run_job("train", tmp_path, *arguments(demo, tmp_path, *LONG, *mistake), ray=True)
    assert done.returncode == 2
    assert "no-such-image" in done.stderr
    assert "The same command resumes it." in done.stderr
    _, found = mlflow_run(tmp_path)
    assert found.info.status == "FAILED"
    assert load(state)["number"] >= reached
    assert figures(run(demo, tmp_path, *LONG)[1]) == figures(alone[2])
    assert mlflow_run(tmp_path)[1].info.status == "FINISHED"


@pytest.mark.slow  # a search's is in test_tune.py
def test_stopping_a_run_keeps_its_epochs(demo, tmp_path):
    job = start(demo, tmp_path, "--optim.epochs", 500)
    until(lambda: began(record(demo, tmp_path)), job)
    stopped = run_job("train", tmp_path, "--stop", "--run", tmp_path.name, "--results", demo)
    assert stopped.stdout == f"run {tmp_path.name}: stopped; the same command resumes it\n"
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 130
    assert "the same command resumes it" in errors
    (trial,) = load_study(demo / "runs", tmp_path.name).trials
    assert trial.intermediate_values


@pytest.mark.slow
def test_a_group_that_loses_a_worker_goes_on_to_what_one_alone_learns(demo, tmp_path, alone):
    """Two workers, one killed; those that go on may be one or two."""
    job = start(demo, tmp_path, *LONG, "--workers", 1, "--max-workers", 2)
    until(lambda: began(record(demo, tmp_path)), job)
    children = psutil.Process(job.pid).children(recursive=True)
    workers = [p for p in children if "RayTrainWorker" in " ".join(p.cmdline())]
    assert len(workers) == 2
    assert "glibc.malloc.mmap_max=0" in workers[0].environ()["GLIBC_TUNABLES"]
    os.kill(workers[0].pid, signal.SIGKILL)
    _, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors[-3000:]
    plain = json.loads((tmp_path / "out.json").read_text())
    assert [epoch["epoch"] for epoch in plain["epochs"]] == list(range(1, 9))
    assert losses(plain) == pytest.approx(losses(alone[2]), rel=1e-3)


@pytest.mark.slow  # a Ray of the job's own: one that was joined may grow. As in test_backends.py
def test_more_workers_than_the_machine_has_cores_are_refused(demo, tmp_path):
    job = start(demo, tmp_path, "--workers", 99)
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 2
    assert "error: --workers 99: the cluster has room for" in errors


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            ("--ablation", "no-sitt"),
            "error: --ablation no-sitt: no row of the ablation table. Did you mean 'no-sit'?",
        ),
        (
            ("--pictures.attributes", "body_pattern::stripe"),
            "'body_pattern::stripe'. Did you mean 'body_pattern::stripes'?",
        ),
        (("--workers", "0"), "error: workers must be positive; got 0."),
        (("--workers", "2", "--max-workers", "1"), "max_workers must be 0 or at least --workers"),
        (("--model.levels", "4+32"), "error: model.levels 4+32: the feature store"),
        (
            ("--tier", "finetuned", "--compute.micro-batch", "1"),
            "compute.micro_batch must be",
        ),
        (
            ("--run", "x/y"),
            "error: run must be letters, digits and ._+- alone; got 'x/y'.",
        ),
    ],
)
def test_a_mistake_is_one_sentence(demo, tmp_path, more, words):
    done = run_job("train", tmp_path, *arguments(demo, tmp_path, *more))
    assert done.returncode == 2
    assert words in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_photos_are_trained_on_with_the_backbone_and_a_part_removed(demo, tmp_path):
    text, plain = run(
        *(demo, tmp_path, "--tier", "finetuned", "--optim.epochs", 1, "--workers", 2),
        *("--backbone", "resnet10t", "--weights", "random", "--image-size", 64),
        *("--finetune.lr", 1e-4, "--ablation", "no-sit"),
    )
    assert "note: --model.sit attr has no effect: --ablation no-sit sets none\n" in text
    assert "note: --model.sit-dropout 0 has no effect: --model.sit is none\n" in text
    (epoch,) = plain["epochs"]
    assert epoch["train/lr_backbone"] == pytest.approx(1e-4)
    assert epoch["cost/images_per_second"] > 0
    _, found = mlflow_run(tmp_path)
    assert found.data.params["model.sit"] == "none"  # SMALL asks for "attr"
    (weights,) = (demo / "runs" / tmp_path.name).rglob(BEST)
    names = load(weights)["model"]
    assert any(name.startswith("backbone.body.layer4") for name in names)
    assert not any("interaction" in name for name in names)

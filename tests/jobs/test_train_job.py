"""jobs/train.py as a person runs it: Ray Train, one worker and two, killed and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time

import mlflow
import pandas as pd
import psutil
import pytest
from conftest import ROOT
from mlflow import MlflowClient

from drmn.training.checkpoint import BEST, load

LONG = ("--optim.epochs", "8")
SMALL = ("--model.sit", "attr", "--model.width", "64", "--model.sit-dropout", "0")


def command(demo, folder, *more):
    return [
        *(sys.executable, str(ROOT / "jobs" / "train.py"), "--dataset", "demo", *SMALL),
        *("--results", str(demo), "--run", folder.name, "--json", str(folder / "out.json")),
        *("--tracking-uri", f"sqlite:///{folder}/mlflow.db", *map(str, more)),
    ]


def run(demo, folder, *more):
    done = subprocess.run(
        command(demo, folder, *more), cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout, json.loads((folder / "out.json").read_text())


def losses(plain):
    return [epoch["loss/total"] for epoch in plain["epochs"]]


def figures(plain):
    return [
        {k: v for k, v in epoch.items() if not k.startswith("cost/")} for epoch in plain["epochs"]
    ]


@pytest.fixture(scope="module")
def alone(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return folder, *run(demo, folder, *LONG)


def test_it_shows_each_epoch_and_the_line_to_beat(alone):
    _, text, plain = alone
    assert [e["epoch"] for e in plain["epochs"]] == list(range(1, 9))
    assert "epoch 8 of 8: loss" in text
    assert "ESZSL, same features and split" in text
    assert plain["baselines"].keys() == {"ESZSL", "cosine"}
    assert "-m drmn.tracking serve" in text.replace("\n", " ")
    best = max(plain["epochs"], key=lambda epoch: epoch["val/H"])
    assert plain["best"]["H"] == best["val/H"]


def test_the_run_is_in_mlflow_with_its_curves_and_a_model_that_takes_photos(demo, alone):
    folder, _, plain = alone
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "demo"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == (folder.name, "FINISHED")
    assert found.data.tags["tier"] == "frozen"
    assert found.data.params["model.width"] == "64"
    for name in (
        "loss/total",
        "train/grad_norm",
        "train/lr_head",
        "val/H",
        "cost/images_per_second",
    ):
        assert [m.step for m in client.get_metric_history(found.info.run_id, name)] == list(
            range(1, 9)
        )
    assert found.data.metrics["cost/images_per_second"] > 0
    assert found.data.metrics["best/H"] == pytest.approx(plain["best"]["H"])
    assert found.data.metrics["baseline/ESZSL_H"] > 0
    drawn = [file.path for file in client.list_artifacts(found.info.run_id, "pictures")]
    assert drawn == ["pictures/epoch-005.png", "pictures/epoch-008.png"]
    (model,) = client.search_logged_models([experiment.experiment_id])
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    photo = next((demo / "demo").rglob("images/*/*")).read_bytes()
    answer = mlflow.pyfunc.load_model(model.model_uri).predict(pd.DataFrame({"image": [photo]}))
    assert list(answer.columns) == ["class", "score", "probability", "top", "attributes"]


def test_the_same_command_says_the_same_without_training(demo, alone):
    folder, _, before = alone
    _, again = run(demo, folder, *LONG)
    assert again == before


def test_other_settings_are_refused_with_the_difference(demo, alone):
    folder, _, _ = alone
    asked = command(demo, folder, "--optim.epochs", 9)
    done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "started with other settings: optim.epochs was 8, now 9" in done.stderr
    assert "--run NAME to start another" in done.stderr


def tree(process):
    return psutil.Process(process.pid).children(recursive=True)


def wait_for_epoch(demo, folder, process, epoch):
    history = demo / "runs" / folder.name / "history.jsonl"
    for _ in range(4800):
        if history.is_file() and len(history.read_text().splitlines()) >= epoch:
            return
        assert process.poll() is None, "the job ended before it could be killed"
        time.sleep(0.1)
    pytest.fail("waited in vain")


def test_a_killed_driver_goes_on_to_the_same_numbers(demo, tmp_path, alone):
    job = subprocess.Popen(command(demo, tmp_path, *LONG), cwd=tmp_path, stdout=subprocess.DEVNULL)
    wait_for_epoch(demo, tmp_path, job, 2)
    children = tree(job)
    job.send_signal(signal.SIGKILL)
    job.wait()
    for child in children:
        if child.is_running():
            child.kill()
    states = list((demo / "runs" / tmp_path.name).rglob("last.pt"))
    assert states
    latest = max(states, key=lambda file: file.stat().st_mtime)
    latest.write_bytes(latest.read_bytes()[:1000])  # cut off too: an earlier epoch's is taken
    assert figures(run(demo, tmp_path, *LONG)[1]) == figures(alone[2])


@pytest.mark.slow
def test_a_group_that_loses_a_worker_goes_on_to_what_one_alone_learns(demo, tmp_path, alone):
    """Two workers, one killed; those that go on may be one or two."""
    elastic = command(demo, tmp_path, *LONG, "--workers", 1, "--max-workers", 2)
    job = subprocess.Popen(elastic, cwd=tmp_path, stdout=subprocess.DEVNULL)
    wait_for_epoch(demo, tmp_path, job, 2)
    workers = [p for p in tree(job) if "RayTrainWorker" in " ".join(p.cmdline())]
    assert len(workers) == 2
    assert "glibc.malloc.mmap_max=0" in workers[0].environ()["GLIBC_TUNABLES"]
    os.kill(workers[0].pid, signal.SIGKILL)
    assert job.wait(300) == 0
    plain = json.loads((tmp_path / "out.json").read_text())
    assert [epoch["epoch"] for epoch in plain["epochs"]] == list(range(1, 9))
    assert losses(plain) == pytest.approx(losses(alone[2]), rel=1e-3)


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
        (("--workers", "99"), "error: --workers 99: they need 99 CPUs and the cluster has"),
        (("--workers", "0"), "error: workers must be positive; got 0."),
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
    asked = [*command(demo, tmp_path), *more]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_photos_are_trained_on_with_the_backbone_and_a_part_removed(demo, tmp_path):
    _, plain = run(
        *(demo, tmp_path, "--tier", "finetuned", "--optim.epochs", 1, "--workers", 2),
        *("--backbone", "resnet10t", "--weights", "random", "--image-size", 64),
        *("--finetune.lr", 1e-4, "--ablation", "no-sit"),
    )
    (epoch,) = plain["epochs"]
    assert epoch["train/lr_backbone"] == pytest.approx(1e-4)
    assert epoch["cost/images_per_second"] > 0
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "demo"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.data.params["model.sit"] == "none"  # SMALL asks for "attr"
    weights = load(demo / "runs" / tmp_path.name / BEST)["model"]
    assert any(name.startswith("backbone.body.layer4") for name in weights)
    assert not any("interaction" in name for name in weights)

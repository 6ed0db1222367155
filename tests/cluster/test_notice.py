"""A machine is told that it is about to go: `ray start --block`, ended by SIGTERM."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import optuna
import pytest
from machines import began, until
from paths import ROOT
from ray.cluster_utils import Cluster

from drmn.training.checkpoint import LAST, load

# Epochs of many small steps: to lose one would show.
SPACE = """
def space(trial):
    trial.suggest_float("optim.lr", 1e-3, 1e-2, log=True)
    return {"optim.epochs": 4, "optim.batch_size": 2, "model.sit": "attr", "model.width": 256}
"""


@contextmanager
def machine(address, scratch):
    """Run a node as Kubernetes does: its first process is that which has the notice."""
    command = [Path(sys.executable).parent / "ray", "start", "--block", f"--address={address}"]
    command += ["--num-cpus=1", "--object-store-memory=80000000"]
    waits = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "60", "DRMN_SCRATCH": str(scratch)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=os.environ | waits, **quiet) as process:
        try:
            yield process
        finally:
            process.kill()


def job(folder, results, study, *more):
    space = folder / "space.py"
    space.write_text(SPACE)
    command = [
        *(sys.executable, ROOT / "jobs" / "tune.py", "--dataset", "demo", "--space", space),
        *("--study", study, "--results", results, "--budget.trials", "1", "--no-figures"),
        *("--budget.model-mb", "0", "--policy.sampler", "random", "--policy.pruner", "none"),
        *("--tracking-uri", f"sqlite:///{folder}/mlflow.db", *more),
    ]
    return list(map(str, command))


def trial(record):
    """Return the only trial of a record."""
    name = record.parent.name
    (found,) = optuna.load_study(study_name=name, storage=f"sqlite:///{record}").trials
    return found


@pytest.fixture
def cluster():
    """Return a cluster of a head that runs nothing."""
    small = {"object_store_memory": 80_000_000}
    ray = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    yield ray
    ray.shutdown()


def peek(path):
    """Return a checkpoint, or nothing of one that is being written; `load` would move it aside."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, LAST)
        with suppress(FileNotFoundError):
            shutil.copy(path, copy)
        return load(copy) or {}


def moves(command, address, folder, under_way, checkpoints):
    """Run a job on a machine that goes while it is under way, and on another that comes.

    Returns the number of steps of an epoch that the first one had done.
    """

    def part():
        found = [peek(path) for path in folder.glob(checkpoints)]
        return next((len(state["part"]["norms"]) for state in found if "part" in state), 0)

    with machine(address, folder / "one") as one:
        running = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"RAY_ADDRESS": address},
            stdout=subprocess.DEVNULL,
        )
        until(under_way, running)
        one.send_signal(signal.SIGTERM)
        done = until(part, running)
        assert one.poll() is None  # there was time enough
        with machine(address, folder / "two"):
            assert running.wait(300) == 0
    return done


def straight(folder, command):
    """Run the same on one machine in one go."""
    folder.mkdir()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("backend", ["inproc", "pool"])
def test_a_trial_goes_on_with_its_next_step(demo, tmp_path, cluster, backend):
    shutil.copytree(demo / "features", tmp_path / "features")
    record = tmp_path / "studies" / backend / "record.db"
    command = job(tmp_path, tmp_path, backend, "--backend", backend, "--budget.at-once", "1")
    assert moves(command, cluster.address, tmp_path, lambda: began(record), f"**/{LAST}") > 0
    moved = trial(record)
    assert moved.state.name == "COMPLETE"
    assert moved.user_attrs["moved"] == 1
    assert "interrupted" not in moved.user_attrs  # it counts as no failure
    # What it learns is what it would have learnt in one go.
    plain = tmp_path / "straight"
    straight(plain, job(tmp_path, plain, backend))
    expected = trial(plain / "studies" / backend / "record.db")
    assert moved.intermediate_values == expected.intermediate_values
    assert moved.user_attrs["settings"] == expected.user_attrs["settings"]


def train(results):
    command = [
        *(sys.executable, ROOT / "jobs" / "train.py", "--dataset", "demo", "--run", "notice"),
        *("--optim.epochs", "4", "--optim.batch-size", "2", "--model.sit", "attr"),
        *("--model.width", "256", "--results", results, "--json", results / "out.json"),
        *("--tracking-uri", f"sqlite:///{results}/mlflow.db"),
    ]
    return list(map(str, command))


def epochs(results):
    """Return what the epochs of a run came to, but for what they cost."""
    found = json.loads((results / "out.json").read_text())["epochs"]
    return [{k: v for k, v in epoch.items() if not k.startswith("cost/")} for epoch in found]


@pytest.mark.timeout(900)
def test_a_training_goes_on_with_its_next_step(demo, tmp_path, cluster):
    shutil.copytree(demo / "features", tmp_path / "features")
    record = tmp_path / "runs" / "notice" / "record.db"
    under_way = lambda: began(record)  # noqa: E731
    assert moves(train(tmp_path), cluster.address, tmp_path, under_way, f"runs/**/{LAST}") > 0
    plain = tmp_path / "straight"
    straight(plain, train(plain))
    assert epochs(tmp_path) == epochs(plain)

"""A machine is told that it is about to go: `ray start --block`, ended by SIGTERM."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from conftest import ROOT
from ray.cluster_utils import Cluster
from test_nodes import began, until

from drmn.checkpoint import LAST, load

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
        *("--budget.models", "1", "--policy.sampler", "random", "--policy.pruner", "none"),
        *("--tracking-uri", f"sqlite:///{folder}/mlflow.db", *more),
    ]
    return list(map(str, command))


def trial(record):
    """Return the only trial of a record."""
    name = record.parent.name
    (found,) = optuna.load_study(study_name=name, storage=f"sqlite:///{record}").trials
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ["inproc", "pool"])
def test_the_part_of_an_epoch_that_is_done_is_not_lost(demo, tmp_path, engine):
    small = {"object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    folder = demo / "studies" / engine
    last = folder / "trials" / "0000" / LAST
    command = job(tmp_path, demo, engine, "--engine", engine, "--budget.at-once", "1")
    try:
        with machine(cluster.address, tmp_path / "one") as one:
            search = subprocess.Popen(
                command,
                cwd=tmp_path,
                env=os.environ | {"RAY_ADDRESS": cluster.address},
                stdout=subprocess.DEVNULL,
            )
            until(lambda: began(folder / "record.db"), search)
            one.send_signal(signal.SIGTERM)
            until(lambda: (load(last) or {}).get("part"), search)
            assert one.poll() is None  # there was time enough
            done = len(load(last)["part"]["norms"])
            with machine(cluster.address, tmp_path / "two"):
                assert search.wait(300) == 0
    finally:
        cluster.shutdown()
    assert done > 0
    moved = trial(folder / "record.db")
    assert moved.state.name == "COMPLETE"
    assert moved.user_attrs["moved"] == 1
    assert "interrupted" not in moved.user_attrs  # it counts as no failure
    # What it learns is what it would have learnt in one go.
    straight = tmp_path / "straight"
    straight.mkdir()
    subprocess.run(
        job(straight, straight, engine), cwd=straight, check=True, stdout=subprocess.DEVNULL
    )
    expected = trial(straight / "studies" / engine / "record.db")
    assert moved.intermediate_values == expected.intermediate_values
    assert moved.user_attrs["settings"] == expected.user_attrs["settings"]

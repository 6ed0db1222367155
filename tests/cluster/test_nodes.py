"""A search on a cluster whose machines come and go."""

import json
import os
import subprocess
import sys

import optuna
import pytest
from machines import began, until
from paths import ROOT
from ray.cluster_utils import Cluster

EPOCHS, TRIALS = 30, 4
SPACE = f"""
def space(trial):
    trial.suggest_float("optim.lr", 1e-3, 1e-2, log=True)
    return {{"optim.epochs": {EPOCHS}, "model.sit": "none", "model.width": 16}}
"""


@pytest.fixture
def cluster(tmp_path):
    """Return a cluster of a head that runs nothing, and a function that adds a node by name."""
    small = {"object_store_memory": 80_000_000}
    # That a machine is gone is found out within ten seconds, not a minute.
    soon = {"health_check_period_ms": 2000, "health_check_failure_threshold": 5}
    head = {"num_cpus": 0, "_system_config": soon, **small}
    ray = Cluster(initialize_head=True, head_node_args=head)

    def add(name):
        return ray.add_node(num_cpus=1, env_vars={"DRMN_SCRATCH": str(tmp_path / name)}, **small)

    yield ray, add
    ray.shutdown()


def has_store(scratch):
    return list(scratch.glob("features/demo-*/manifest.json"))


def search(demo, folder, ray, study, space):
    """Begin a search of two trials at a time on a cluster."""
    command = [
        *(sys.executable, ROOT / "jobs" / "tune.py", "--dataset", "demo", "--space", space),
        *("--study", study, "--results", demo, "--budget.trials", str(TRIALS)),
        *("--budget.at-once", "2", "--policy.sampler", "random", "--policy.pruner", "none"),
        *("--no-figures", "--budget.model-mb", "0", "--json", folder / "out.json"),
        *("--tracking-uri", f"sqlite:///{folder}/mlflow.db"),
    ]
    return subprocess.Popen(
        list(map(str, command)),
        cwd=folder,
        env=os.environ | {"RAY_ADDRESS": ray.address},
        stdout=subprocess.DEVNULL,
    )


def test_more_trials_at_a_time_than_there_is_room_for_take_turns(demo, tmp_path, cluster):
    ray, add = cluster
    add("one")
    job = search(demo, tmp_path, ray, "turns", ROOT / "tests" / "spaces" / "smoke.py")
    assert job.wait(200) == 0
    found = json.loads((tmp_path / "out.json").read_text())["trials"]
    assert [trial["state"] for trial in found] == ["COMPLETE"] * TRIALS


def test_machines_come_and_go_and_nothing_is_lost(demo, tmp_path, cluster):
    ray, add = cluster
    one, two = add("one"), add("two")
    space = tmp_path / "space.py"
    space.write_text(SPACE)
    record = demo / "studies" / "nodes" / "record.db"
    job = search(demo, tmp_path, ray, "nodes", space)
    until(lambda: len(began(record)) == 2, job)
    # Trials are spread, and each machine reads a copy of its own.
    assert has_store(tmp_path / "one")
    assert has_store(tmp_path / "two")

    ray.remove_node(one, allow_graceful=False)
    add("three")
    until(lambda: has_store(tmp_path / "three"), job)  # who joins gets work
    until(lambda: began(record), job)
    ray.remove_node(two, allow_graceful=True)  # as on notice of an interruption: SIGTERM

    assert job.wait(300) == 0
    found = json.loads((tmp_path / "out.json").read_text())["trials"]
    assert [trial["state"] for trial in found] == ["COMPLETE"] * TRIALS
    study = optuna.load_study(study_name="nodes", storage=f"sqlite:///{record}")
    for trial in study.trials:
        assert sorted(trial.intermediate_values) == list(range(1, EPOCHS + 1))
        # On notice a process may be gone before its machine is seen to be: one of three lives.
        assert trial.user_attrs.get("interrupted", 0) <= 1
    assert sum(trial.user_attrs.get("moved", 0) for trial in study.trials) >= 1

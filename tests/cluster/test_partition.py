"""A network that falls apart and heals: no result is lost, and none is there twice."""

import json
import shutil
import time
from contextlib import suppress

import optuna
import pytest
from hosts import SHARED, hosts
from machines import began, eventually

EPOCHS, TRIALS = 60, 4
SPACE = f"""
def space(trial):
    trial.suggest_float("optim.lr", 1e-3, 1e-2, log=True)
    return {{"optim.epochs": {EPOCHS}, "model.sit": "none", "model.width": 16}}
"""
SEARCH = (
    f"python jobs/tune.py --dataset demo --space {SHARED}/space.py --study apart "
    f"--budget.trials {TRIALS} --budget.at-once 2 --budget.model-mb 0 --no-figures "
    "--policy.sampler random --policy.pruner none"
)
# That a machine is gone is found out within some seconds, not a minute.
SOON = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 4,
}
START = "export RAY_AUTH_MODE=disabled; ray start --object-store-memory=80000000"


def moves(record):
    """Return how often trials have lost their machine, while a driver writes."""
    with suppress(Exception):  # being written
        study = optuna.load_study(study_name="apart", storage=f"sqlite:///{record}")
        return sum(trial.user_attrs.get("moved", 0) for trial in study.trials)
    return 0


def outcome(path):
    return [
        (trial["number"], trial["state"], trial["epochs"], trial["value"], trial["params"])
        for trial in json.loads(path.read_text())["trials"]
    ]


@pytest.mark.timeout(900)
def test_a_network_that_falls_apart_and_heals(demo, tmp_path):
    with hosts(["head", "one", "two"], tmp_path) as made:
        head, one, two = made.values()
        shared = tmp_path / "shared"
        shutil.copytree(demo, shared / "results")
        shutil.copytree(demo, shared / "plain")
        (shared / "space.py").write_text(SPACE)
        record = shared / "results" / "studies" / "apart" / "record.db"
        head.run(
            f"{START} --head --port=6379 --num-cpus=0 --node-ip-address={head.address} "
            f"--include-dashboard=false --system-config='{json.dumps(SOON)}'"
        )
        for worker in (one, two):
            worker.run(
                f"{START} --address={head.address}:6379 --num-cpus=1 "
                f"--node-ip-address={worker.address}"
            )
        search = (
            f"export RAY_AUTH_MODE=disabled RAY_ADDRESS={head.address}:6379; "
            f"{SEARCH} --results {SHARED}/results --json {SHARED}/apart.json "
            f"--tracking-uri sqlite:///{SHARED}/mlflow.db; echo $? > {SHARED}/status"
        )
        with head.at_work(f"bash -c '{search}'"):
            eventually(lambda: len(began(record)) == 2, "both trials to be under way")
            with one.cut_off():
                time.sleep(3)  # shorter than anyone is missed
            assert moves(record) == 0
            with two.cut_off():
                eventually(lambda: moves(record) == 1, "the machine to be missed")
                time.sleep(3)
            eventually((shared / "status").exists, "the search to end", seconds=300)
        assert (shared / "status").read_text() == "0\n"
        eventually(
            lambda: not [p for p in two.processes() if "raylet" in p], "the stray node to leave"
        )
        head.run(
            f"{SEARCH} --results {SHARED}/plain --json {SHARED}/plain.json "
            f"--tracking-uri sqlite:///{SHARED}/plain.db"
        )
        study = optuna.load_study(study_name="apart", storage=f"sqlite:///{record}")
        for trial in study.trials:
            assert sorted(trial.intermediate_values) == list(range(1, EPOCHS + 1))
            assert "interrupted" not in trial.user_attrs  # no fault of the trial's
        assert outcome(shared / "apart.json") == outcome(shared / "plain.json")

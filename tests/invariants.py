"""What must hold of a study after any fault, once its command has come to its end.

Read from the files and databases themselves, not by the code that wrote them.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from mlflow import MlflowClient
from mlflow.entities import Run

Plain = dict[str, Any]
SHA256 = 32
"""Bytes of the digest that a checkpoint begins with."""
RUNNING_ONLY = ("last.pt", "holder", "*.tmp", ".room")
"""Files of a trial that is running or was killed; what was put aside stays, to be looked at."""
ENDED = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED"}
"""A run's state in MLflow by that of its trial in the record."""


def broken(study: Path, outcome: Plain, tracking_uri: str, url: str = "") -> list[str]:
    """Return a line for each invariant that a finished study breaks.

    Args:
        study: The study's folder.
        outcome: What `--json` has of it.
        tracking_uri: MLflow's store.
        url: The PostgreSQL of its record; empty if the folder has it.
    """
    opened = _opened(study, url)
    trials = opened.get_trials(deepcopy=False)
    dropped = opened.user_attrs.get("dropped", [])
    return [
        *of_record(trials, outcome),
        *of_checkpoints(study, [trial for trial in trials if trial.number not in dropped]),
        *of_mlflow(trials, opened.user_attrs["key"], tracking_uri),
        *of_leftovers(study),
    ]


def trials_of(study: Path, url: str = "") -> list[optuna.trial.FrozenTrial]:
    """Return the trials of a record."""
    return _opened(study, url).get_trials(deepcopy=False)


def _opened(study: Path, url: str) -> optuna.Study:
    storage = url.replace("://", "+psycopg2://", 1) or f"sqlite:///{study / 'record.db'}"
    return optuna.load_study(study_name=study.name, storage=storage)


def of_record(trials: list[optuna.trial.FrozenTrial], outcome: Plain) -> Iterator[str]:
    """Each trial is there once and has ended; the outcome names the best of them."""
    if [trial.number for trial in trials] != list(range(len(trials))):
        yield f"record: trials {[trial.number for trial in trials]}"
    for trial in trials:
        state = trial.state.name
        if state not in ENDED:
            yield f"record: trial {trial.number} is {state}"
        steps = sorted(trial.intermediate_values)
        if state == "COMPLETE" and steps != list(range(1, len(steps) + 1)):
            yield f"record: trial {trial.number} has the epochs {steps}"
    shown = {(each["number"], each["state"], each["epochs"]) for each in outcome["trials"]}
    kept = {(t.number, t.state.name, max(t.intermediate_values, default=0)) for t in trials}
    if shown != kept:
        yield f"record: {sorted(kept)}, but --json has {sorted(shown)}"
    values = {
        trial.number: max(trial.intermediate_values.values())
        for trial in trials
        if trial.state.name in ("COMPLETE", "PRUNED") and trial.intermediate_values
    }
    winner = max(values, key=lambda number: (values[number], -number), default=None)
    best = outcome["best"]["trial"] if outcome.get("best") else None
    if best != winner:
        yield f"outcome: trial {best} is the best, but by the record it is trial {winner}"


def of_checkpoints(study: Path, trials: list[optuna.trial.FrozenTrial]) -> Iterator[str]:
    """Every checkpoint that the record names is there, and its bytes are those of its digest."""
    for trial in trials:
        named = trial.user_attrs.get("checkpoint")
        if not named:
            continue
        file = study / "trials" / f"{trial.number:04d}" / "best.pt"
        content = file.read_bytes() if file.is_file() else b""
        digest = hashlib.sha256(content[SHA256:]).digest()
        if digest != content[:SHA256] or digest.hex() != named["sha256"]:
            yield f"{file}: not the checkpoint of the record"


def of_mlflow(trials: list[optuna.trial.FrozenTrial], key: str, tracking_uri: str) -> Iterator[str]:
    """MLflow has one run for each trial, under the study's, with the record's last values."""
    client = MlflowClient(tracking_uri)
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = [
        run
        for run in client.search_runs(experiments, max_results=10_000)
        if run.data.tags.get("drmn.run", "").split("/")[0] == key
    ]
    runs = [run for run in runs if run.data.tags["kind"] in ("study", "trial")]  # and baselines
    names = Counter(run.data.tags["drmn.run"] for run in runs)
    expected = {key, *(f"{key}/{trial.number:04d}" for trial in trials)}
    if set(names) != expected or set(names.values()) != {1}:
        yield f"MLflow: runs {dict(names)}"
        return
    by_name = {run.data.tags["drmn.run"]: run for run in runs}
    first: dict[str, Run] = {}
    for trial in trials:
        run = by_name[f"{key}/{trial.number:04d}"]
        point = json.dumps(trial.params, sort_keys=True)
        # One that repeats an earlier one's point is below that.
        yield from _of_run(trial, run, first.get(point, by_name[key]), client)
        first.setdefault(point, run)


def _of_run(
    trial: optuna.trial.FrozenTrial, run: Run, parent: Run, client: MlflowClient
) -> Iterator[str]:
    where = f"MLflow: trial {trial.number}"
    if run.data.tags.get("mlflow.parentRunId") != parent.info.run_id:
        yield f"{where} is not below its study"
    if run.info.status != ENDED.get(trial.state.name):
        yield f"{where} is {run.info.status}, and {trial.state.name} in the record"
    history = client.get_metric_history(run.info.run_id, "val/H")
    logged = sorted((point.step, point.value) for point in history)
    if logged != sorted(trial.intermediate_values.items()):
        yield f"{where} has val/H {logged}, the record {sorted(trial.intermediate_values.items())}"


def of_leftovers(study: Path) -> Iterator[str]:
    """Nothing is left of processes that ended or were killed."""
    for pattern in RUNNING_ONLY:
        for file in study.glob(f"trials/*/{pattern}"):
            yield f"{file}: left over"
    if (study / "ray").exists():
        yield f"{study / 'ray'}: left over"


def outcome_of(file: Path) -> Plain:
    """Return what a job wrote with `--json`."""
    found: Plain = json.loads(file.read_text())
    return found

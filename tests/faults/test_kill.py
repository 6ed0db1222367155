"""Kill it and start it again: nothing is lost, and nothing done twice."""

import contextlib
import os
import shutil
import signal
import subprocess

import optuna
import psutil
import pytest
from in_process import run_job
from kills import (
    FINISHED,
    TRIALS,
    command,
    ended,
    epochs_of,
    finish,
    kept,
    kill_tree,
    outcome,
    wait_for,
)


def trials(record):
    """Return the record's trials; only when no driver is at work."""
    study = optuna.load_study(study_name=record.parent.name, storage=f"sqlite:///{record}")
    return study.get_trials(deepcopy=False)


@pytest.fixture(scope="module")
def unkilled(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unkilled")
    found = outcome(finish(command(folder, demo), folder))
    assert kept(demo / "studies" / folder.name) == FINISHED
    return found


def cut(path):
    """Leave half of a file, as a bad disk may."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("disk", ["whole", pytest.param("damaged", marks=pytest.mark.slow)])
def test_a_killed_driver_resumes_to_the_same_numbers(demo, tmp_path, unkilled, disk):
    record = demo / "studies" / tmp_path.name / "record.db"
    job = subprocess.Popen(command(tmp_path, demo), cwd=tmp_path, stdout=subprocess.DEVNULL)
    # In the middle: two trials are over and the third has an epoch.
    wait_for(lambda: epochs_of(record, 2), job)
    kill_tree(job)
    assert "ray" in kept(record.parent)
    before = [t for t in trials(record) if t.state.is_finished()]
    assert len(before) >= 2
    if disk == "damaged":  # the checkpoint to go on from, and the features
        (state,) = record.parent.glob("trials/*/last.pt")
        cut(state)
        (level,) = (demo / "features").glob("demo-*160px-*/level-16.arrow")
        cut(level)
    assert outcome(finish(command(tmp_path, demo), tmp_path)) == unkilled
    # A file that this start found damaged stays, to be looked at, until the next one.
    aside = {"last.damaged"} if disk == "damaged" else set()
    assert kept(record.parent) == FINISHED | aside
    for trial in before:  # not run again: its times are as they were
        now = trials(record)[trial.number]
        assert (now.datetime_start, now.datetime_complete) == (
            trial.datetime_start,
            trial.datetime_complete,
        )


@pytest.mark.slow
def test_features_that_vanish_are_made_again_and_no_trial_fails(demo, tmp_path, unkilled):
    results = tmp_path / "results"
    shutil.copytree(demo / "features", results / "features")
    record = results / "studies" / tmp_path.name / "record.db"
    said = tmp_path / "said"
    # A process for each trial: one that has the features open reads them to its end.
    more = ("--backend", "pool")
    with said.open("w") as output:
        arguments = command(tmp_path, results, *more)
        job = subprocess.Popen(arguments, cwd=tmp_path, stdout=output)
        wait_for(lambda: epochs_of(record, 1), job)
        (level,) = (results / "features").glob("demo-*160px-*/level-16.arrow")
        cut(level)
        assert job.wait(600) == 0
    assert outcome(ended(arguments, tmp_path)) == unkilled
    assert "The features are checked, and made again" in " ".join(said.read_text().split())


def processes(job, name):
    """Return the processes that Ray has named so."""
    found = []
    for child in psutil.Process(job.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [child.pid] * (name in " ".join(child.cmdline()))
    return found


def process_of_trial_1(job, name, record):
    """Return a process that Ray has named so, once the second trial has an epoch.

    Ray names a process after what it runs, and only while it runs it.
    """
    victims = []

    def running():
        victims[:] = processes(job, name) if epochs_of(record, 1) else []
        return victims

    wait_for(running, job)
    return victims[0]


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        ("inproc", "Trainable"),
        ("pool", "RayTrainWorker"),
    ],
)
@pytest.mark.slow  # tests/search/executors/test_trial_losses.py has the like
def test_a_trial_that_loses_its_process_goes_on_in_another(demo, tmp_path, unkilled, backend, name):
    record = demo / "studies" / tmp_path.name / "record.db"
    arguments = command(tmp_path, demo, "--backend", backend)
    job = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL)
    os.kill(process_of_trial_1(job, name, record), signal.SIGKILL)
    assert job.wait(300) == 0
    plain = ended(arguments, tmp_path)
    assert outcome(plain) == unkilled  # nor does it depend on the backend
    assert sum("interrupted" in t.user_attrs for t in trials(record)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("server", ["raylet", "gcs_server"])
def test_a_search_whose_ray_dies_starts_again_by_itself(demo, tmp_path, unkilled, server):
    record = demo / "studies" / tmp_path.name / "record.db"
    said = tmp_path / "said"
    with said.open("w") as errors:
        # More trials than those that could end before the death is noticed.
        arguments = command(tmp_path, demo, "--budget.trials", str(4 * TRIALS))
        job = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=errors)
        wait_for(lambda: epochs_of(record, 1), job)
        (victim,) = [c for c in psutil.Process(job.pid).children() if c.name() == server]
        victim.kill()
        assert job.wait(480) == 0
    assert "starts again by itself and resumes (1 of 3 times within" in said.read_text()
    assert "(2 of 3 times" not in said.read_text()
    found = outcome(ended(arguments, tmp_path))
    assert (len(found), found[:TRIALS]) == (4 * TRIALS, unkilled)


@pytest.mark.slow
def test_a_search_whose_queue_of_trials_dies_ends_and_resumes_and_no_trial_fails(
    demo, tmp_path, unkilled
):
    record = demo / "studies" / tmp_path.name / "record.db"
    arguments = command(tmp_path, demo, "--backend", "pool")
    job = subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    os.kill(process_of_trial_1(job, "TrialQueue", record), signal.SIGKILL)
    _, errors = job.communicate(timeout=480)
    assert job.returncode == 2, errors
    assert "the process that hands trials to worker groups died" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert outcome(finish(arguments, tmp_path)) == unkilled


@pytest.mark.slow
def test_a_trial_that_is_stopped_is_found_hanging_and_resumes(demo, tmp_path, unkilled):
    record = demo / "studies" / tmp_path.name / "record.db"
    arguments = command(tmp_path, demo, "--stall-minutes", "0.05")
    job = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL)
    os.kill(process_of_trial_1(job, "Trainable", record), signal.SIGSTOP)
    assert job.wait(480) == 0
    assert outcome(ended(arguments, tmp_path)) == unkilled
    assert sum(trial.user_attrs.get("hung", 0) for trial in trials(record)) == 1
    (stacks,) = (record.parent / "trials").glob("*/stacks-*.txt")
    assert "Thread 0x" in stacks.read_text()


@pytest.mark.slow  # test_tune.py has the like
def test_the_same_command_after_the_end_runs_nothing_and_says_the_same(demo, tmp_path, unkilled):
    folder = tmp_path
    first = finish(command(folder, demo), folder)
    times = [t.datetime_complete for t in trials(demo / "studies" / folder.name / "record.db")]
    assert outcome(first) == unkilled
    assert finish(command(folder, demo), folder) == first
    again = [t.datetime_complete for t in trials(demo / "studies" / folder.name / "record.db")]
    assert again == times


def test_a_setting_that_the_features_cannot_serve_is_the_trials_own_failure(demo, tmp_path):
    space = tmp_path / "words.py"
    space.write_text(
        "def space(trial):\n"
        "    trial.suggest_categorical('model.prototypes', ['words'])\n"
        "    return {'model.sit': 'none', 'optim.epochs': 1}\n"
    )
    arguments = [*command(tmp_path, demo), "--space", space, "--budget.trials", "1"]
    done = run_job("tune", tmp_path, *arguments[2:], ray=True)
    assert done.returncode == 2
    assert "trial 0: ConfigError: model.prototypes words: this dataset has no word" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_group_of_workers_goes_on_after_a_trial_that_failed(demo, tmp_path):
    space = tmp_path / "words.py"
    space.write_text(
        "def space(trial):\n"
        "    trial.suggest_categorical('model.prototypes', ['words', 'normal'])\n"
        "    return {'model.sit': 'none', 'optim.epochs': 1, 'model.width': 16}\n"
    )
    arguments = [*command(tmp_path, demo, "--backend", "pool", "--workers", "2"), "--space", space]
    plain = finish(arguments, tmp_path)
    states = {trial["params"]["model.prototypes"]: trial["state"] for trial in plain["trials"]}
    assert states == {"words": "FAIL", "normal": "COMPLETE"}
    failed = next(trial for trial in plain["trials"] if trial["state"] == "FAIL")
    assert failed["cause"].startswith("ConfigError: model.prototypes words: this dataset")
    assert plain["trials"][-1]["number"] == TRIALS - 1
    assert any(t["state"] == "COMPLETE" for t in plain["trials"][failed["number"] + 1 :])


@pytest.mark.slow
def test_a_group_for_each_trial_comes_to_the_same(demo, tmp_path, unkilled):
    arguments = [*command(tmp_path, demo, "--backend", "trial"), "--budget.trials", "2"]
    assert outcome(finish(arguments, tmp_path)) == unkilled[:2]

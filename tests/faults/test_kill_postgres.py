"""The same with the record in PostgreSQL: the main job, killed and refused and gone on with."""

import signal
import socket
import subprocess
import time
from itertools import pairwise

import pytest
from in_process import run_job
from kills import TRIALS, command, finish, kill_tree, outcome, wait_for

from drmn.errors import StudyError
from drmn.search.storage.studies import load_study


def trials(demo, study, url):
    try:
        return load_study(demo / "studies", study, url).get_trials(deepcopy=False)
    except StudyError:  # not begun yet
        return []


def status(arguments, folder):
    given = dict(pairwise(arguments))
    where = [each for name in ("--study", "--results", "--storage") for each in (name, given[name])]
    shown = run_job("tune", folder, "--status", *where)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


@pytest.mark.slow
def test_a_killed_driver_resumes_and_a_second_one_is_refused(demo, tmp_path, postgres):
    url, study = postgres.database(), tmp_path.name
    arguments = command(tmp_path, demo, "--storage", url)
    job = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL)

    def in_the_middle():
        time.sleep(0.5)
        return len(trials(demo, study, url)) > 2

    wait_for(in_the_middle, job)
    job.send_signal(signal.SIGSTOP)  # so that it does not end meanwhile; it holds the study
    who = f"process {job.pid} on {socket.gethostname()}"
    assert f"driver: {who}\n" in status(arguments, tmp_path)
    (tmp_path / "elsewhere").mkdir()  # as on another machine: the folder's lock is another
    (tmp_path / "elsewhere" / "features").symlink_to(demo / "features")
    elsewhere = [*arguments, "--results", tmp_path / "elsewhere"]
    refused = run_job("tune", tmp_path, *elsewhere[2:])
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: Study {study} in {url} is being run by {who}; wait")
    kill_tree(job)
    before = [trial for trial in trials(demo, study, url) if trial.state.is_finished()]
    assert len(before) >= 2
    assert "driver: none\n" in status(arguments, tmp_path)
    ended = outcome(finish(arguments, tmp_path))
    assert [state for _, state, *_ in ended] == ["COMPLETE"] * TRIALS
    now = trials(demo, study, url)
    assert [now[trial.number].datetime_complete for trial in before] == [
        trial.datetime_complete for trial in before
    ]
    assert not (demo / "studies" / study / "record.db").exists()


@pytest.mark.slow
def test_a_server_that_ends_in_a_search_ends_it_in_one_sentence(demo, tmp_path, postgres):
    url = postgres.database()
    job = subprocess.Popen(
        command(tmp_path, demo, "--storage", url),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: len(trials(demo, tmp_path.name, url)) > 1, job)
    postgres.stop()
    _, errors = job.communicate(timeout=200)
    postgres.start()
    assert job.returncode == 2
    assert errors.splitlines()[-1].startswith(f"error: --storage {url}: ")
    assert "Traceback" not in errors

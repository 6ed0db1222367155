"""A job whose Ray dies starts again, a few times; one that a signal ends does not."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from paths import ROOT

from drmn.cluster import ray_watch

JOB = """
import os, signal, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from drmn.cluster import ray_watch

ray_watch.POLL_INTERVAL_S = ray_watch.GRACE_S = 0.2
signal.signal(signal.SIGTERM, signal.default_int_handler)
with ray_watch.restart_if_ray_dies() as watch:
    server = subprocess.Popen([sys.argv[2], "100"])
    print("started", flush=True)
    if sys.argv[3] == "dies early":
        time.sleep(1)
        server.kill()
        time.sleep(60)  # what Ray's library does then
    if sys.argv[3] == "ended by Ray":
        server.kill()
        os._exit(1)
    with watch.until_a_signal():
        try:
            if sys.argv[3] == "dies":
                server.kill()
            time.sleep(60)
        finally:
            time.sleep(2)  # what a job does before it ends
"""


@pytest.fixture(params=["raylet", "gcs_server"])
def server(request, tmp_path):
    """Return a program of the name of one of Ray's servers."""
    return shutil.copy(shutil.which("sleep"), tmp_path / request.param)


def start(tmp_path, *arguments):
    job = tmp_path / "job.py"
    job.write_text(JOB)
    return subprocess.Popen(
        [sys.executable, job, ROOT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_job_whose_ray_dies_starts_again_three_times_and_then_says_what_to_do(tmp_path, server):
    out, err = start(tmp_path, server, "dies").communicate(timeout=120)
    assert out == "started\n" * 4
    *notes, error = err.splitlines()
    assert [line.rpartition("(")[2] for line in notes] == [
        f"{n} of 3 times within an hour)." for n in (1, 2, 3)
    ]
    assert error.startswith(
        "error: Ray's raylet or gcs_server died 4 times within an hour; nothing"
    )


def test_a_death_of_more_than_an_hour_ago_is_not_counted(tmp_path, server, monkeypatch):
    now = time.monotonic()
    monkeypatch.setenv(ray_watch.RESTARTS, f"{now - 4000} {now - 3700} {now - 100}")
    _, err = start(tmp_path, server, "dies").communicate(timeout=120)
    *notes, _ = err.splitlines()
    assert [line.rpartition("(")[2][0] for line in notes] == ["2", "3"]


def test_a_ray_that_dies_while_it_starts_is_started_once_more(tmp_path, server):
    out, err = start(tmp_path, server, "dies early").communicate(timeout=120)
    assert out == "started\n" * 2
    note, error = err.splitlines()
    assert note.startswith("note: Ray's raylet or gcs_server died; the job starts again by itself")
    assert error.startswith("error: Ray did not start on this machine (its raylet or gcs_server")


def test_a_job_that_ray_ends_while_it_starts_is_explained_by_another_process(tmp_path, server):
    job = start(tmp_path, server, "ended by Ray")
    out, err = job.communicate(timeout=120)
    assert (job.returncode, out) == (1, "started\n")
    assert err == f"{ray_watch.Watchdog.TEXT}\n"


def test_a_job_that_a_signal_ends_does_not_start_again(tmp_path, server):
    job = start(tmp_path, server, "lives")
    assert job.stdout.readline() == "started\n"
    os.killpg(job.pid, signal.SIGTERM)  # as a batch system does: to Ray's processes too
    out, err = job.communicate(timeout=120)
    assert out == ""
    assert "KeyboardInterrupt" in err
    assert "starts again" not in err

"""A finalize that is killed in each step, or trained by groups, comes to the same result."""

import json
import shutil
import subprocess
import sys

import pytest
from in_process import run_job
from kills import kill_tree, wait_for
from paths import ROOT
from searches import search

from drmn.data.sealed import ledger

pytestmark = pytest.mark.slow  # three whole ones


def printed(words):
    """Return a test of whether a finalize has printed a line that begins so."""
    return lambda results: any(
        line.startswith(words) for line in (results.parent / "said").read_text().splitlines()
    )


def extracting(results):
    """Return whether an extraction has a shard, and not all of them."""
    journals = (results / "features").glob(".demo-*.building/journal.jsonl")
    return any(journal.stat().st_size for journal in journals)


STEPS = (printed("block 1, candidate 1"), extracting, printed("refit, seed 0"))
"""What is seen in the middle of confirmation, extraction and refit."""


def command(results, *more):
    """Return the arguments of a finalize whose winner does not depend on how long epochs take."""
    small = ("--confirm.candidates", "1", "--confirm.blocks", "2", "--refit.seeds", "2")
    store = f"sqlite:///{results.parent}/mlflow.db"
    return ("--study", "s", "--results", results, *small, "--tracking-uri", store, *more)


def outcome(results):
    """Return what a result has of each training, and of the test."""
    (entry,) = ledger.verify(results / "sealed")
    found = json.loads((results / "studies" / "s" / "final" / "result.json").read_text())
    (winner,) = found["confirm"]["candidates"]
    return winner["blocks"], found["test"], entry.study


@pytest.fixture(scope="module")
def searched(demo, tmp_path_factory):
    """Return results with a search that is to be finalized."""
    folder = tmp_path_factory.mktemp("searched") / "s"
    folder.mkdir()
    search(folder, demo, "--dataset", "demo")
    return demo


@pytest.fixture
def results(searched, tmp_path):
    """Return a copy of them."""
    return shutil.copytree(searched, tmp_path / "results")


@pytest.fixture(scope="module")
def undisturbed(searched, tmp_path_factory):
    place = tmp_path_factory.mktemp("undisturbed")
    results = shutil.copytree(searched, place / "results")
    done = run_job("finalize", place, *command(results), ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return outcome(results)


def kill_at(step, results, folder):
    """Start a finalize, and kill it once it is in a step."""
    job_file = ROOT / "jobs" / "finalize.py"
    arguments = [sys.executable, "-u", job_file, *map(str, command(results))]
    with (results.parent / "said").open("w") as said:
        job = subprocess.Popen(arguments, cwd=folder, stdout=said)
    wait_for(lambda: step(results), job, pause=0.01)
    kill_tree(job)


def test_a_killed_finalize_resumes_to_the_same_result(results, undisturbed, tmp_path):
    for step in STEPS:
        kill_at(step, results, tmp_path)
    done = run_job("finalize", tmp_path, *command(results), ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert outcome(results) == undisturbed


def test_groups_of_workers_come_to_the_same_result_up_to_rounding(results, undisturbed, tmp_path):
    more = ("--backend", "pool", "--workers", "2", "--at-once", "1")
    done = run_job("finalize", tmp_path, *command(results, *more), ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    blocks, test, study = outcome(results)
    assert blocks == pytest.approx(undisturbed[0], abs=0.02)
    assert study == "s"
    for name in ("T1", "AUSUC"):  # H at a carried gamma jumps with a rounded score
        assert test[name]["mean"] == pytest.approx(undisturbed[1][name]["mean"], abs=0.03)

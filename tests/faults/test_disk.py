"""Disks that are full, of bytes or of files, or that nobody may write to."""

import shutil
import subprocess
import time

import pytest
from in_process import run_job
from kills import command, ended, epochs_of, finish, outcome, wait_for
from mounts import disk, read_only

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return outcome(finish(command(folder, demo), folder))


def take_all_bytes(thief):
    with pytest.raises(OSError, match="No space left"):
        (thief / "bytes").write_bytes(bytes(200 << 20))


def take_all_files(thief):
    with pytest.raises(OSError, match="No space left"):
        [(thief / str(number)).touch() for number in range(1_000_000)]


@pytest.mark.parametrize("take", [take_all_bytes, take_all_files])
def test_a_search_waits_for_room_on_a_full_disk(demo, tmp_path, undisturbed, take):
    with disk(tmp_path / "disk", "size=200m,nr_inodes=5k") as small:
        shutil.copytree(demo / "features", small / "features")
        arguments = command(tmp_path, small)
        record, said = small / "studies" / tmp_path.name / "record.db", tmp_path / "said"
        thief = small / "thief"
        thief.mkdir()
        with said.open("w") as errors:
            job = subprocess.Popen(
                arguments, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=errors
            )
            wait_for(lambda: epochs_of(record, 1), job)
            take(thief)
            wait_for(lambda: "is full" in said.read_text(), job)
            time.sleep(3)
            shutil.rmtree(thief)
            assert job.wait(480) == 0
        told = said.read_text()
        assert "the disk is full; the search waits, and resumes when there is space." in told
        assert "Traceback" not in told
        assert outcome(ended(arguments, tmp_path)) == undisturbed


def test_results_that_nobody_may_write_to_are_one_sentence_and_stay_as_they_are(
    demo, tmp_path, undisturbed
):
    results = shutil.copytree(demo / "features", tmp_path / "results" / "features").parent
    arguments = command(tmp_path, results)
    for _ in ("a new study", "one that is finished"):
        with read_only(results):
            refused = run_job("tune", tmp_path, *arguments[2:], "--budget.trials", "7")
        assert refused.returncode == 2
        (sentence,) = refused.stderr.splitlines()
        assert sentence.startswith(f"error: {results}")
        assert "give --results a folder that may be written to" in sentence
        assert outcome(finish(arguments, tmp_path)) == undisturbed


def test_a_study_that_is_removed_while_it_runs_ends_in_one_sentence(demo, tmp_path, undisturbed):
    study = demo / "studies" / tmp_path.name
    arguments = command(tmp_path, demo)
    job = subprocess.Popen(
        [*arguments, "--budget.trials", "40"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: epochs_of(study / "record.db", 1), job)
    shutil.rmtree(study)
    _, errors = job.communicate(timeout=480)
    assert job.returncode == 2, errors
    assert errors.splitlines()[-1].startswith(f"error: {study}: the folder was removed while")
    assert "Traceback" not in errors
    assert outcome(finish(arguments, tmp_path)) == undisturbed

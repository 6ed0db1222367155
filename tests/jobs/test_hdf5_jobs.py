"""Feature files taken in and written by the jobs, as a person runs them."""

import json
from pathlib import Path

import h5py
import hdf5_files
import pytest
from in_process import run_job


def run(folder, job, *arguments):
    name, results = job.removesuffix(".py"), ("--results", folder / "results")
    return run_job(name, folder, *arguments, *results, ray=SMALL[0] in arguments)


@pytest.fixture(scope="module")
def place(shared, tmp_path_factory):
    """A folder with x.hdf5, whose classes can be learnt, and its split files in root/."""
    folder = tmp_path_factory.mktemp("hdf5")
    root = hdf5_files.root_without_images(shared("cub2010_mini"), folder / "root")
    found = hdf5_files.tables(root, "CUB")
    maps = hdf5_files.maps(found, (24, 2, 2))
    hdf5_files.write(folder / "x.hdf5", {"feature_map": maps, **found})
    return folder


IMPORT = ("--dataset", "cub", "--hdf5", "x.hdf5", "--data-root", "root")
SMALL = (
    *("--budget.trials", "3", "--budget.at-once", "1", "--seed", "1", "--no-figures"),
    *("--model.sit", "none", "--optim.epochs", "4"),
)


@pytest.fixture(scope="module")
def finished(place):
    """Return what a search of three trials printed, and its outcome."""
    more = (*SMALL, "--json", "out.json")
    done = run(place, "tune.py", *IMPORT, *more)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, json.loads((place / "out.json").read_text())


def test_a_search_on_imported_features_ends_with_its_best_settings(finished):
    output, outcome = finished
    assert outcome["study"] == "imported"
    assert outcome["data"].startswith("cub-hdf5-0px-")
    assert len(outcome["trials"]) == 3
    assert {trial["state"] for trial in outcome["trials"]} <= {"COMPLETE", "PRUNED"}
    assert outcome["settings"]["model.levels"] == "32"
    assert outcome["best"]["T1"] > 2 / 8  # twice what guessing among 8 unseen classes gives
    assert "Best settings of study imported" in output
    assert " looks: " not in output  # there are no photos for a picture


def test_one_line_says_that_no_model_takes_photos_and_where_the_weights_are(finished):
    output, outcome = finished
    (line,) = [line for line in output.splitlines() if "no model that takes photos" in line]
    weights = Path(line.rpartition(" in ")[2].rstrip("."))
    assert weights.name == "best.pt"
    assert weights.is_file()
    assert f"{outcome['best']['trial']:04d}" == weights.parent.name


def test_the_same_command_goes_on_without_the_file_read_again(place, finished):
    more = (*SMALL, "--json", "again.json")
    done = run(place, "tune.py", *IMPORT, *more)
    assert done.returncode == 0, done.stderr[-2000:]
    again = json.loads((place / "again.json").read_text())
    assert again["best"] == finished[1]["best"]


def test_prepare_imports_exports_and_says_what_went_where(place):
    done = run(place, "prepare.py", *IMPORT, "--fold", "2", "--export-hdf5", "out.hdf5")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "out.hdf5: " in done.stdout
    assert "no test image is in it" in done.stdout
    with h5py.File(place / "out.hdf5") as content:
        assert content["feature_map"].shape == (448, 24, 2, 2)
        assert len(content["test_unseen_loc"]) > 0
    again = run(place, "prepare.py", *IMPORT, "--export-hdf5", "out.hdf5")
    assert again.returncode == 2
    assert "error: --export-hdf5 out.hdf5: exists" in again.stderr


@pytest.mark.parametrize(
    ("job", "arguments", "words"),
    [
        ("tune.py", (*IMPORT, "--views", "2"), "views must be 0 with --hdf5; got 2."),
        ("tune.py", (*IMPORT, "--maps", "full"), "maps must be pooled with --hdf5; got 'full'."),
        ("tune.py", ("--dataset", "demo", "--hdf5", "x.hdf5"), "dataset must be one of apy, awa2"),
        ("prepare.py", ("--dataset", "cub", "--hdf5", "y.hdf5"), "--hdf5 y.hdf5: no such file."),
        ("prepare.py", ("--list", "--export-hdf5", "z.hdf5"), "--export-hdf5 needs --dataset"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence(place, job, arguments, words):
    done = run(place, job, *arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr

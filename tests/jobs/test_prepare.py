"""jobs/prepare.py as a person runs it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from in_process import run_job
from paths import ROOT
from PIL import Image

from drmn.data.store import feature_store

FAST = ("--backbone", "resnet10t", "--weights", "random", "--image-size", "32", "--levels", "32")
# 21 rows a shard of 32 MB, so that there is something to interrupt.
LARGE = (
    *("--backbone", "resnet10t", "--weights", "random", "--image-size", "320"),
    *("--levels", "4+8+16+32", "--maps", "full"),
)
CLASSES, PER_CLASS = 12, 10


def command(*more):
    return [sys.executable, str(ROOT / "jobs" / "prepare.py"), *map(str, more)]


def run(folder, *more):
    return run_job("prepare", folder, *more, ray="--workers" in more)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return a user's own dataset of pictures of chance."""
    root = tmp_path_factory.mktemp("own") / "photos"
    chance = np.random.default_rng(0)
    rows = ["class,a,b,c,d"]
    for c in range(CLASSES):
        (root / "images" / f"c{c}").mkdir(parents=True)
        for i in range(PER_CLASS):
            pixels = chance.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / f"c{c}" / f"{i}.png")
        rows.append(f"c{c}," + ",".join(f"{v:.2f}" for v in chance.random(4)))
    (root / "attributes.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="module")
def prepared(photos):
    """Return the folder in which a job prepared the photos, and what it printed."""
    done = run(photos.parent, "--dataset", "own", "--data-root", photos, *FAST)
    assert done.returncode == 0, done.stderr[-2000:]
    return photos.parent, done.stdout.splitlines()


def test_the_last_line_is_the_store(prepared):
    folder, lines = prepared
    store = folder / lines[-1]
    assert re.fullmatch(r"results/features/own-resnet10t-32px-[0-9a-f]{12}", lines[-1])
    assert (store / "manifest.json").is_file()
    rows = pq.read_table(store / "images.parquet").to_pylist()
    assert len(rows) == 10 * 8  # 2 of 12 classes are for testing, and a fifth of each class
    assert {row["split"] for row in rows} == {"trainval"}
    assert {(row["height"], row["width"]) for row in rows} == {(40, 40)}


def test_an_option_without_effect_is_noted(prepared):
    folder, lines = prepared
    asked = ("--dataset", "own", "--data-root", folder / "photos", "--pca-share", "0.5")
    done = run(folder, *asked, *FAST)
    assert "note: --pca-share 0.5 has no effect: --encoding is bf16\n" in done.stdout
    assert done.stdout.splitlines()[-1] == lines[-1]


def test_the_test_split_is_sealed_beside_it(prepared):
    folder, _ = prepared
    (sealed,) = (folder / "results" / "sealed").glob("own-*")
    rows = pq.read_table(sealed / "images.parquet").to_pylist()
    assert len(rows) == 2 * 10 + 10 * 2
    splits = [row["split"] for row in rows]
    assert (splits.count("test_unseen"), splits.count("test_seen")) == (20, 20)


def test_a_list_shows_each_store_with_its_size(prepared):
    folder, lines = prepared
    done = run(folder, "--list")
    text = done.stdout.replace("\n", "")
    assert "80" in text
    assert "bf16" in text
    assert lines[-1].split("/")[-1][:20] in text


def test_a_list_of_the_stores_imports_no_torch(prepared):
    folder, _ = prepared
    code = (
        "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "print([m for m in ('torch', 'ray', 'mlflow') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, ROOT / "jobs" / "prepare.py", "--list"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    *lines, heavy = done.stdout.splitlines()
    assert (len(lines) > 1, heavy) == (True, "[]")


def test_verify_says_ok_or_names_the_shard(prepared, tmp_path):
    folder, lines = prepared
    shutil.copytree(folder / "results", tmp_path / "results")
    done = run(tmp_path, "--verify")
    assert (done.returncode, done.stdout.strip()) == (0, f"{lines[-1].split('/')[-1]}: ok")
    file = tmp_path / lines[-1] / "level-32.arrow"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    done = run(tmp_path, "--verify")
    assert done.returncode == 2
    assert "damaged: level-32.arrow, shard 0" in done.stdout
    assert done.stderr.startswith("error: 1 of the stores in results/features are damaged")


def test_prune_makes_room(prepared, tmp_path):
    folder, lines = prepared
    shutil.copytree(folder / "results", tmp_path / "results")
    done = run(tmp_path, "--prune", "--max-bytes", "1GB")
    assert (done.returncode, "removed" in done.stdout) == (0, False)
    done = run(tmp_path, "--prune", "--max-bytes", "1kB")
    assert f"removed {lines[-1].split('/')[-1]}" in done.stdout
    assert not (tmp_path / lines[-1]).exists()
    assert "no feature store in results/features" in run(tmp_path, "--list").stdout


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "error: --dataset is missing: apy, awa2, cub, demo, own, sun."),
        (("--dataset", "cubb"), "error: Unknown dataset 'cubb'. Did you mean 'cub'?"),
        (("--prune",), "error: --prune and --max-bytes go together"),
        (("--prune", "--max-bytes", "lots"), "error: --max-bytes lots: not a size such as 20GB"),
        (
            ("--dataset", "demo", "--levels", "4+64"),
            "error: --levels 4+64: tf_efficientnet_lite0 has no level of stride 64",
        ),
        (
            ("--dataset", "demo", "--export-hdf5", "nowhere/out.hdf5"),
            "error: --export-hdf5 nowhere/out.hdf5: no such folder to write into.",
        ),
        (("--dataset", "demo", "--gpus", "1"), "error: --gpus 1 is of each Ray worker"),
        (
            ("--dataset", "cub", "--hdf5", "f.hdf5", "--workers", "2"),
            "error: --hdf5 reads features from a file, so nothing is extracted",
        ),
        (("--dataset", "demo", "--fold", "4"), "error: fold must be 1, 2 or 3; got 4."),
        (("--dataset", "demo", "--views", "99"), "views must be in 0..16; got 99."),
        (
            ("--dataset", "cub", "--data-root", "nowhere"),
            "error: --data-root nowhere: no such folder",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_status_2(tmp_path, more, words):
    done = run(tmp_path, *more)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_results_that_cannot_be_a_folder_is_told(tmp_path):
    (tmp_path / "results").write_text("a file")
    done = run(tmp_path, "--dataset", "demo")
    assert done.returncode == 2
    assert "results: File exists; give --results a folder that may be written to." in done.stderr
    assert "Traceback" not in done.stderr


def copy_of(photos, tmp_path):
    return shutil.copytree(photos, tmp_path / "photos")


def test_unreadable_photos_stop_it_or_are_skipped_and_on_record(photos, tmp_path):
    root = copy_of(photos, tmp_path)
    spoilt = sorted(root.glob("images/*/3.png"))
    for file in spoilt:
        file.write_bytes(b"<html>")
    asked = ("--dataset", "own", "--data-root", root, *FAST)
    done = run(tmp_path, *asked)
    assert done.returncode == 2
    assert f"error: {spoilt[0]}: not a readable image" in done.stderr
    assert f"So are {len(spoilt) - 1} more of 120" in done.stderr
    done = run(tmp_path, *asked, "--on-bad", "skip")
    assert done.returncode == 0, done.stderr
    assert "images cannot be read and are skipped, such as" in done.stdout
    about = pq.read_schema(tmp_path / done.stdout.split()[-1] / "images.parquet").metadata[b"about"]
    skipped = json.loads(about)["skipped"]
    assert set(skipped) < {str(file.relative_to(root / "images")) for file in spoilt}
    assert len(skipped) >= 6


def test_a_file_s_name_that_is_no_utf_8_is_told(photos, tmp_path):
    root = copy_of(photos, tmp_path)
    os.rename(  # noqa: PTH104 - a name of bytes
        os.fsencode(root / "images" / "c3" / "1.png"), os.fsencode(root) + b"/images/c3/\xe9.png"
    )
    done = run(tmp_path, "--dataset", "own", "--data-root", root, *FAST)
    assert done.returncode == 2
    assert "\\xe9.png: the file's name is not UTF-8; rename it." in done.stderr


def test_a_data_root_that_is_no_utf_8_is_told(photos, tmp_path):
    root = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(photos, root)
    done = run(tmp_path, "--dataset", "own", "--data-root", root, *FAST)
    assert done.returncode == 2
    assert "caf\\xe9: the path is not UTF-8; rename it" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_workers_make_the_store_that_one_process_makes(photos, prepared, tmp_path):
    asked = ("--dataset", "own", "--data-root", photos, *FAST, "--workers", "2")
    done = run(tmp_path, *asked)
    assert done.returncode == 0, done.stderr[-2000:]
    folder, lines = prepared
    assert done.stdout.split()[-1] == lines[-1]
    alone, together = (
        feature_store.read(place / lines[-1]).levels[32] for place in (folder, tmp_path)
    )
    rows = torch.arange(80)
    torch.testing.assert_close(together.rows(rows), alone.rows(rows), rtol=2**-7, atol=1e-3)


def levels(folder):
    (store,) = (folder / "results" / "features").glob("own-*")
    return {file.name: file.read_bytes() for file in store.glob("level-*.arrow")}


def test_kill_9_in_the_middle_and_the_same_command_makes_the_same_store(photos, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    asked = ("--dataset", "own", "--data-root", photos, *LARGE)
    for folder in (whole, killed):
        folder.mkdir()
    # Not in this process: it has one thread for torch, and sums round otherwise.
    assert (
        subprocess.run(command(*asked), cwd=whole, capture_output=True, check=False).returncode == 0
    )
    process = subprocess.Popen(command(*asked), cwd=killed, stdout=subprocess.DEVNULL)
    stores = killed / "results" / "features"
    while process.poll() is None and not any(
        file.stat().st_size for file in stores.glob(".own-*.building/journal.jsonl")
    ):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL  # it had shards left to make
    assert not list(stores.glob("own-*"))
    assert "% made" in run(killed, "--list").stdout.replace("\n", "")
    done = subprocess.run(command(*asked), cwd=killed, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert levels(killed) == levels(whole)

"""The test split cannot be reached: not its labels, not its pixels, not its classes."""

import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from scipy.io import loadmat, savemat

from drmn.baselines import lines
from drmn.config import FeatureConfig
from drmn.data import demo as drawing
from drmn.data import development, features
from drmn.data.catalogue import fence_of
from drmn.errors import DataError
from drmn.prepare import compact
from drmn.prepare.datasets import open_dataset
from drmn.prepare.stores import prepare

SPACE = ROOT / "tests" / "spaces" / "smoke.py"


def search(storage):
    """Run a search as a person does; return its outcome."""
    command = [
        *(sys.executable, ROOT / "jobs" / "tune.py", "--dataset", "demo", "--space", SPACE),
        *("--budget.trials", "2", "--budget.at-once", "1", "--storage", ".", "--json", "out.json"),
    ]
    done = subprocess.run(command, cwd=storage, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((storage / "out.json").read_text())


def written(storage):
    """Return the digest of every file that a search writes and that holds no time of day."""
    plain = (".arrow", ".parquet", ".json", ".safetensors", ".pt")
    return {
        str(file.relative_to(storage)): hashlib.sha256(file.read_bytes()).hexdigest()
        for part in ("features", "studies")
        for file in sorted((storage / part).rglob("*"))
        if file.suffix in plain
    }


def record(storage):
    """Return what the record holds of each trial, times apart."""
    (file,) = (storage / "studies").glob("*/record.db")
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    tables = ("trial_params", "trial_values", "trial_intermediate_values", "trial_user_attributes")
    query = "SELECT * FROM {}"
    return {table: database.execute(query.format(table)).fetchall() for table in tables}


def with_noise(drawn):
    """Give the test images of a drawn demo other labels, other pixels and other attributes."""
    splits = drawn / "xlsa17" / "data" / drawing.NAME
    places, images = (loadmat(splits / name) for name in ("att_splits.mat", "res101.mat"))
    chance = np.random.default_rng(0)
    for field in ("test_seen_loc", "test_unseen_loc"):
        where = places[field].ravel() - 1
        order = chance.permutation(where)
        for name in ("image_files", "labels"):
            images[name][where] = images[name][order]
        for cell in images["image_files"][where].ravel():
            file = next(drawn.rglob(Path(str(cell[0])).name))
            file.write_bytes(_noise(chance))
    unseen = np.unique(images["labels"][places["test_unseen_loc"].ravel() - 1]) - 1
    places["original_att"][:, unseen] = chance.random((len(places["original_att"]), len(unseen)))
    for name, content in (("att_splits.mat", places), ("res101.mat", images)):
        savemat(splits / name, {k: v for k, v in content.items() if not k.startswith("__")})


def _noise(chance):
    file = BytesIO()
    Image.fromarray(chance.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(file, "png")
    return file.getvalue()


def test_noise_in_the_sealed_file_changes_no_byte_of_a_search(demo, tmp_path):
    folders = [tmp_path / "honest", tmp_path / "noisy"]
    for folder in folders:
        shutil.copytree(demo, folder, ignore=shutil.ignore_patterns("studies"))
    for file in (folders[1] / "sealed").glob("*/*"):
        file.chmod(0o600)
        file.write_bytes(np.random.default_rng(1).bytes(5000))
    outcomes = [search(folder) for folder in folders]
    assert outcomes[0] == outcomes[1]
    assert written(folders[0]) == written(folders[1])
    assert record(folders[0]) == record(folders[1])
    assert len(written(folders[0])) > 8


def test_noise_in_the_official_test_part_changes_no_byte_of_what_is_prepared(tmp_path, monkeypatch):
    """Of what is for testing the labels, the pixels and the attributes are replaced."""
    folders = [tmp_path / "honest", tmp_path / "noisy"]
    for folder in folders:
        drawing.render(folder / "demo")
    with_noise(folders[1] / "demo")
    monkeypatch.setattr(drawing, "render", lambda _: None)  # it would draw what was spoilt anew
    catalogues = [open_dataset("demo", folder / "demo", folder) for folder in folders]
    assert catalogues[0].digest == catalogues[1].digest
    sealed = [next((folder / "sealed").iterdir()).name for folder in folders]
    assert sealed[0] != sealed[1]
    for catalogue, folder in zip(catalogues, folders, strict=True):
        _features(catalogue, folder)
    assert written(folders[0]) == written(folders[1])
    assert len(written(folders[0])) > 5


def _features(catalogue, storage):
    config = FeatureConfig(backbone="resnet10t", weights="random", image_size=32, levels="32")
    return prepare(catalogue, config, storage / "features")


# Planted leaks are refused by name.


def test_a_fold_that_holds_a_test_image_is_refused(toy_store):
    store = features.read(toy_store)
    stray = replace(store.catalogue, fence=fence_of((store.catalogue.images[3],), ()))
    message = f"toy: the development data hold {store.catalogue.images[3]}, a test image"
    with pytest.raises(DataError, match=re.escape(message)):
        development.divide(stray, store.levels, fold=1, digest="")


def test_candidates_that_hold_a_test_class_are_refused(toy_store):
    store = features.read(toy_store)
    stray = replace(store.catalogue, fence=fence_of((), ("class4",)))
    with pytest.raises(DataError, match="toy: the development data hold class4, a test class"):
        development.divide(stray, store.levels, fold=1, digest="")


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize(
    ("fit", "words"),
    [
        (lambda split: compact.extremes(split, 32), "fitting the range of features"),
        (lambda split: compact.principal(split, 32, 2), "fitting principal components"),
    ],
)
def test_nothing_is_fitted_on_images_that_are_not_for_training(toy, part, fit, words):
    fit(toy.train)
    message = f"{words} takes train images alone; these are {part} images."
    with pytest.raises(DataError, match=message):
        fit(replace(toy.train, part=part))


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("train", "standardising features takes train images alone; these are test images."),
        ("val_seen", "choosing gamma takes val images alone; these are test images."),
        ("val_unseen", "choosing gamma takes val images alone; these are test images."),
    ],
)
def test_the_baseline_is_neither_standardised_nor_calibrated_on_test_images(toy, split, words):
    leaking = replace(toy, **{split: replace(getattr(toy, split), part="test")})
    with pytest.raises(DataError, match=words):
        lines(leaking)


def test_the_parts_of_development_are_for_training_and_validation(toy):
    assert (toy.train.part, toy.val_seen.part, toy.val_unseen.part) == ("train", "val", "val")


def test_scales_and_components_are_those_of_the_training_images(toy):
    low, high = compact.extremes(toy.train, 16)
    maps = toy.train.levels[16].rows(toy.train.rows).float()
    assert torch.equal(low, maps.amin(dim=(0, 1)))
    assert torch.equal(high, maps.amax(dim=(0, 1)))
    mean, basis = compact.principal(toy.train, 16, 3)
    regions = maps.flatten(0, 1).double()
    torch.testing.assert_close(mean.double(), regions.mean(dim=0), rtol=1e-5, atol=1e-6)
    _, _, right = torch.linalg.svd(regions - regions.mean(dim=0), full_matrices=False)
    torch.testing.assert_close(
        (basis.double() @ basis.double().T), right[:3].T @ right[:3], rtol=0, atol=1e-4
    )


def test_features_fitted_on_one_fold_are_not_opened_for_another(toy_store, tmp_path):
    store = features.read(toy_store)
    key = replace(store.key, encoding="int8", fold=1)
    place = compact.prepare(
        key, tmp_path, lambda: toy_store, lambda _: lambda *_: None, lambda _: None
    )
    development.open_store(place, fold=1)
    message = "fold 2: the int8 features in .* were fitted on the training images of fold 1"
    with pytest.raises(ValueError, match=message):
        development.open_store(place, fold=2)

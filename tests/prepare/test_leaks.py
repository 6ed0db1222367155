"""The test split cannot be reached: not its labels, not its pixels, not its classes."""

import hashlib
import json
import re
import shutil
import sqlite3
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from in_process import run_job
from paths import ROOT
from PIL import Image
from scipy.io import loadmat, savemat

from drmn.config import RunConfig
from drmn.data.demo import dataset as drawing
from drmn.data.images.catalogue import fence_of
from drmn.data.readers import split_files
from drmn.data.splits import development
from drmn.data.store import feature_store
from drmn.errors import DataError
from drmn.evaluation.baselines import fit_baselines
from drmn.experiment.receipt import RECEIPT
from drmn.fields import with_overrides
from drmn.prepare import compact
from drmn.training.loop import fit

SPACE = ROOT / "tests" / "spaces" / "smoke.py"


FEATURES = (
    *("--dataset", "demo", "--backbone", "resnet10t", "--weights", "random"),
    *("--image-size", "64", "--levels", "16+32", "--results", "."),
)


@contextmanager
def unchecked():
    """Leave out what would undo or refuse the noise, for a `with` block.

    The demo is not drawn anew, and a label need not be that of the image's folder.
    """
    with (
        mock.patch.object(drawing, "render"),
        mock.patch.object(split_files, "_check_images"),
    ):
        yield


def search(folder):
    """Prepare and search as a person does; return the outcome, hours apart."""
    arguments = (
        *("--no-figures", "--space", SPACE, "--budget.trials", "2"),
        *("--json", "out.json", "--budget.at-once", "1"),
    )
    with unchecked():
        done = run_job("tune", folder, *FEATURES, *arguments, ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    outcome = json.loads((folder / "out.json").read_text())
    del outcome["spent"]["worker_hours"]
    return outcome


def written(results):
    """Return the digest of every file that a search writes and that holds no time of day."""
    plain = (".arrow", ".parquet", ".json", ".safetensors", ".pt")
    # The receipt holds times of files, test images among them: `receipt` looks at what it keeps.
    return {
        str(file.relative_to(results)): hashlib.sha256(file.read_bytes()).hexdigest()
        for part in ("features", "studies")
        for file in sorted((results / part).rglob("*"))
        if file.suffix in plain and file.name != RECEIPT
    }


def receipt(results):
    """Return what a later start would print of the finished study, times apart."""
    (file,) = (results / "studies").glob(f"*/{RECEIPT}")
    kept = json.loads(file.read_text())
    del kept["outcome"]["spent"]["worker_hours"]
    lines = [line for line in kept["said"].splitlines() if not line.startswith("Spent:")]
    return kept["outcome"], [line.replace(str(results), "") for line in lines]


def record(results):
    """Return what the record holds of each trial, times apart."""
    (file,) = (results / "studies").glob("*/record.db")
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    tables = ("trial_params", "trial_values", "trial_intermediate_values", "trial_user_attributes")
    query = "SELECT * FROM {}"
    rows = {table: database.execute(query.format(table)).fetchall() for table in tables}
    attributes = rows.pop("trial_user_attributes")
    return rows | {"attributes": [(*row, timeless(json.loads(text))) for *row, text in attributes]}


def told(results):
    """Return what MLflow was told of each run, times apart: the spool is empty by then."""
    (spool,) = (results / "studies").glob("*/spool.db")
    assert not sqlite3.connect(spool).execute("SELECT * FROM waiting").fetchall()
    database = sqlite3.connect(results / "mlflow.db")
    metrics = database.execute(
        "SELECT name, key, step, value FROM metrics JOIN runs USING (run_uuid)"
        " WHERE key NOT LIKE 'cost/%' AND key NOT LIKE 'spent/worker%' ORDER BY name, key, step"
    )
    params = database.execute(
        "SELECT name, key, value FROM params JOIN runs USING (run_uuid) ORDER BY name, key"
    )
    data = database.execute("SELECT name, digest, dataset_profile FROM datasets")
    return [rows.fetchall() for rows in (metrics, params, data)]


def timeless(content):
    """Return what is not a time, of metrics by name; anything else as it is."""
    if not isinstance(content, dict):
        return content
    times = ("cost/", "spent/worker")
    return {name: value for name, value in content.items() if not name.startswith(times)}


def with_noise(drawn):
    """Give the test images of a drawn demo other labels, pixels and attributes.

    A test image of a seen class gets any label at all; one of an unseen class another of these,
    without the first: the test set has other classes.
    """
    splits = drawn / "xlsa17" / "data" / drawing.NAME
    places, images = (loadmat(splits / name) for name in ("att_splits.mat", "res101.mat"))
    chance = np.random.default_rng(0)
    seen, unseen = (places[f"test_{part}_loc"].ravel() - 1 for part in ("seen", "unseen"))
    classes = np.unique(images["labels"][unseen])
    images["labels"][unseen, 0] = chance.choice(classes[1:], len(unseen))
    images["labels"][seen, 0] = chance.integers(1, drawing.CLASSES + 1, len(seen))
    for cell in images["image_files"][np.concatenate([seen, unseen])].ravel():
        next(drawn.rglob(Path(str(cell[0])).name)).write_bytes(_noise(chance))
    places["original_att"][:, classes - 1] = chance.random((drawing.ATTRIBUTES, len(classes)))
    for name, content in (("att_splits.mat", places), ("res101.mat", images)):
        savemat(splits / name, {k: v for k, v in content.items() if not k.startswith("__")})


def _noise(chance):
    file = BytesIO()
    Image.fromarray(chance.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(file, "png")
    return file.getvalue()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders with the demo; in the second one the test images hold noise."""
    place = tmp_path_factory.mktemp("leaks")
    found = [place / "honest", place / "noisy"]
    drawing.render(found[0] / "demo")
    shutil.copytree(found[0], found[1])
    with_noise(found[1] / "demo")
    return found


def sealed(folders):
    """Return the digests of the test splits."""
    return [next((folder / "sealed").iterdir()).name for folder in folders]


def trained(folder):
    """Return what two epochs of training come to, and the digest of the data."""
    (store,) = (folder / "features").glob("demo-*")
    data = development.open_store(store)
    run = with_overrides(RunConfig(), {"optim.epochs": 2, "model.width": 32})
    return data.digest, [epoch.metrics for epoch in fit(run, data)]


def test_noise_for_test_labels_pixels_and_attributes_changes_no_feature_and_no_epoch(folders):
    """From the official files on. What a whole search writes is looked at by the test below."""
    for folder in folders:
        with unchecked():
            done = run_job("prepare", folder, *FEATURES)
        assert done.returncode == 0, done.stderr[-2000:]
    digests = sealed(folders)
    assert digests[0] != digests[1]  # the noise was read, and went where it belongs
    assert len(written(folders[0])) > 2
    assert written(folders[0]) == written(folders[1])
    assert trained(folders[0]) == trained(folders[1])


@pytest.mark.slow  # two searches
def test_noise_for_the_test_split_changes_nothing_that_a_search_writes(folders):
    """From the official files on: features, outcome, record, checkpoints, spool and MLflow."""
    outcomes = [search(folder) for folder in folders]
    digests = sealed(folders)
    assert digests[0] != digests[1]
    assert outcomes[0] == outcomes[1]
    for part in (written, record, told, receipt):
        assert part(folders[0]) == part(folders[1])
    assert len(written(folders[0])) > 8
    assert len(told(folders[0])[0]) > 20
    assert len(told(folders[0])[2]) == 1


# Planted leaks are refused by name.


def test_a_fold_that_holds_a_test_image_is_refused(toy_store):
    store = feature_store.read(toy_store)
    stray = replace(store.catalogue, fence=fence_of((store.catalogue.images[3],), ()))
    message = f"toy: the development data hold {store.catalogue.images[3]}, a test image"
    with pytest.raises(DataError, match=re.escape(message)):
        development.divide(stray, store.levels, digest="")


def test_candidates_that_hold_a_test_class_are_refused(toy_store):
    store = feature_store.read(toy_store)
    stray = replace(store.catalogue, fence=fence_of((), ("class4",)))
    with pytest.raises(DataError, match="toy: the development data hold class4, a test class"):
        development.divide(stray, store.levels, digest="")


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
        fit_baselines(leaking)


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
    store = feature_store.read(toy_store)
    key = replace(store.key, encoding="int8", fold=1)
    place = compact.prepare(
        key, tmp_path, lambda: toy_store, lambda _: lambda *_: None, lambda _: None
    )
    development.open_store(place, fold=1)
    message = "fold 2: the int8 features in .* were fitted on the training images of fold 1"
    with pytest.raises(ValueError, match=message):
        development.open_store(place, fold=2)

"""Trainval and the opened test split, as one catalogue."""

import shutil
from collections import Counter

import numpy as np
import pytest
from scipy.io import loadmat

from drmn.data.sealed import ledger
from drmn.errors import DataError
from drmn.final.refit_data import open_refit
from drmn.prepare.datasets import open_dataset

pytestmark = pytest.mark.long  # 800 photos are checked


@pytest.fixture(scope="module")
def opened(shared, tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    catalogue = open_dataset("cub", shared("cub2010_mini"), results)
    assert ledger.verify(results / "sealed") == []
    return results, catalogue, open_refit(catalogue, results, study="s", purpose="a test")


def official(shared, name):
    return loadmat(shared("cub2010_mini") / f"xlsa17/data/CUB/{name}.mat")


def test_every_image_has_its_official_split_and_class(opened, shared):
    _, _, data = opened
    splits, images = official(shared, "att_splits"), official(shared, "res101")
    assert Counter(data.splits) == {
        name: splits[f"{name}_loc"].size for name in ("trainval", "test_seen", "test_unseen")
    }
    names = [cell[0][0] for cell in splits["allclasses_names"]]
    wanted = {
        cell[0][0].split("images/")[-1]: names[int(label) - 1]
        for cell, label in zip(images["image_files"], images["labels"].ravel(), strict=True)
    }
    for image, label in zip(data.images, data.labels, strict=True):
        assert wanted[image] == data.classes[label]


def test_the_classes_of_fold_1_are_those_of_the_unseen_test_images(opened):
    _, catalogue, data = opened
    unseen = {
        data.classes[label]
        for label, split in zip(data.labels, data.splits, strict=True)
        if split == "test_unseen"
    }
    assert set(data.folds[1]) == unseen
    assert not unseen & set(catalogue.classes)
    lengths = np.linalg.norm(data.attributes, axis=1)
    np.testing.assert_allclose(lengths, 1)


def test_an_opening_is_in_the_ledger_and_a_second_one_is_refused(opened):
    results, catalogue, _ = opened
    (entry,) = ledger.verify(results / "sealed")
    assert (entry.study, entry.purpose) == ("s", "a test")
    with pytest.raises(DataError, match="was opened on"):
        open_refit(catalogue, results, study="other", purpose="another look")


def test_an_opening_that_died_before_it_had_the_data_goes_on(opened):
    results, catalogue, data = opened
    before = ledger.verify(results / "sealed")
    again = open_refit(catalogue, results, study="s", purpose="a test")
    assert again.digest == data.digest
    assert ledger.verify(results / "sealed") == before


def test_test_images_are_found_where_the_data_have_moved(opened, shared, tmp_path):
    _, catalogue, _ = opened
    moved = tmp_path / "moved"
    shutil.copytree(shared("cub2010_mini"), moved / "data")
    shutil.copytree(opened[0], moved / "results")
    development = open_dataset("cub", moved / "data", moved / "results")
    assert development.digest == catalogue.digest
    again = open_refit(development, moved / "results", study="s", purpose="a test")
    assert all(file.is_relative_to(moved) for file in again.files)

"""A fold of photos: what training sees of them, and when."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import toy_catalogue

from drmn.data.images.decode import Preprocess
from drmn.data.splits.epoch_rng import EpochRng
from drmn.data.splits.photos import open_photos
from drmn.data.store import feature_store
from drmn.errors import DataError

PREPROCESS = Preprocess(28, (0.5,) * 3, (0.5,) * 3, "bilinear")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return the toy catalogue with a picture of chance for each image."""
    root, chance = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    catalogue = toy_catalogue()
    files = []
    for name in catalogue.images:
        file = root / name.replace("/", "-").replace(".jpg", ".png")
        Image.fromarray(chance.integers(0, 255, (32, 36, 3), dtype=np.uint8)).save(file)
        files.append(file)
    return replace(catalogue, files=tuple(files))


def shown(split, positions, chance=None):
    (batch,) = split.stream([torch.tensor(positions)], chance)
    return batch


def test_a_fold_of_photos_is_the_fold_of_the_store(photos, toy):
    fold = open_photos(photos, PREPROCESS)
    for name in ("train", "val_seen", "val_unseen"):
        mine, its = getattr(fold, name), getattr(toy, name)
        assert torch.equal(mine.labels, its.labels)
        assert mine.part == its.part
        names = [photo.name for photo in mine.photos]
        assert names == [photos.images[row] for row in its.rows.tolist()]
    assert fold.classes.names == toy.classes.names


def test_evaluation_sees_the_middle_every_time(photos):
    fold = open_photos(photos, PREPROCESS, augment="crop")
    once, again = shown(fold.val_seen, [3, 1]), shown(fold.val_seen, [3, 1])
    assert torch.equal(once.inputs, again.inputs)
    assert once.inputs.shape == (2, 3, 28, 28)
    assert once.labels.tolist() == fold.val_seen.labels[[3, 1]].tolist()


@pytest.mark.parametrize("augment", ["crop", "color"])
def test_training_sees_another_view_each_epoch_whatever_the_order(photos, augment):
    train = open_photos(photos, PREPROCESS, augment=augment).train
    first = shown(train, [0, 1, 2], EpochRng(0, 1))
    again = shown(train, [2, 1, 0], EpochRng(0, 1))
    assert torch.equal(first.inputs, again.inputs.flip(0))
    assert not torch.equal(first.inputs, shown(train, [0, 1, 2], EpochRng(0, 2)).inputs)
    assert not torch.equal(first.inputs, shown(train, [0, 1, 2], EpochRng(1, 1)).inputs)


def test_colour_changes_the_tone_of_the_same_crop(photos):
    crop, color = (
        shown(open_photos(photos, PREPROCESS, augment=kind).train, [0], EpochRng(0, 1)).inputs
        for kind in ("crop", "color")
    )
    assert not torch.allclose(crop, color)
    # Brighter or darker, the order of a channel's brightness is nearly the same.
    order = np.corrcoef(crop.flatten().argsort().argsort(), color.flatten().argsort().argsort())
    assert order[0, 1] > 0.7


def test_without_augmentation_training_sees_the_middle(photos):
    train = open_photos(photos, PREPROCESS, augment="none").train
    assert torch.equal(shown(train, [5], EpochRng(0, 1)).inputs, shown(train, [5]).inputs)


def test_a_store_s_catalogue_has_no_photos(toy_store):
    catalogue = feature_store.read(Path(toy_store)).catalogue
    with pytest.raises(DataError, match="no photos to train a backbone on; use --tier frozen"):
        open_photos(catalogue, PREPROCESS)

"""Blocks of classes, and the division of a refit's data into trainval and test."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import CLASSES, PER_CLASS, toy_catalogue

from drmn.config import THIRDS
from drmn.data.images import catalogue as tables
from drmn.data.splits.development import divide
from drmn.data.splits.division import Division, third
from drmn.errors import ConfigError

TOY = toy_catalogue()
UNSEEN = TOY.folds[1]


def joined():
    """The toy as a refit has it: its last three classes, and one image in five, are of the test."""

    def split(label, place):
        if TOY.classes[label] in UNSEEN:
            return "test_unseen"
        return "test_seen" if place % 5 == 0 else "trainval"

    splits = tuple(split(label, place) for place, label in enumerate(TOY.labels))
    return replace(TOY, folds={1: UNSEEN}, splits=splits)


def test_a_block_holds_out_as_many_classes_as_the_fold_and_is_the_same_each_time():
    blocks = [Division(block=number).unseen_classes(TOY) for number in range(1, 20)]
    assert {len(block) for block in blocks} == {len(UNSEEN)}
    assert blocks[3] == Division(block=4).unseen_classes(TOY)
    assert len(set(blocks)) > 10
    assert {name for block in blocks for name in block} == set(TOY.classes)


def test_a_block_does_not_follow_the_order_of_the_classes():
    other = replace(TOY, classes=tuple(reversed(TOY.classes)))
    for number in range(1, 5):
        block = Division(block=number)
        assert set(block.unseen_classes(TOY)) == set(block.unseen_classes(other))


def test_a_refit_trains_on_trainval_and_judges_on_test_images():
    data, splits = divide(joined(), {}, digest=""), np.array(joined().splits)
    parts = (data.train, data.val_seen, data.val_unseen)
    for part, name in zip(parts, ("trainval", "test_seen", "test_unseen"), strict=True):
        assert set(splits[part.rows]) == {name}
    assert sum(map(len, parts)) == CLASSES * PER_CLASS
    assert [part.part for part in parts] == ["train", "test", "test"]
    assert data.classes.names[int(data.classes.seen.sum()) :] == UNSEEN


def test_each_training_image_is_held_out_by_one_third():
    whole = divide(joined(), {}, digest="")
    held = []
    for number in range(1, THIRDS + 1):
        data = divide(joined(), {}, Division(held_out=number), digest="")
        assert data.val_seen.part == "val"
        assert sorted(torch.cat([data.train.rows, data.val_seen.rows])) == sorted(whole.train.rows)
        held.append(data.val_seen.rows)
    assert sorted(torch.cat(held)) == sorted(whole.train.rows)


def test_thirds_are_drawn_within_each_class():
    sizes = [np.bincount(TOY.labels[third(TOY.images, TOY.labels, number)]) for number in (1, 2, 3)]
    assert (np.sum(sizes, axis=0) == PER_CLASS).all()
    assert np.ptp(sizes, axis=0).max() <= 1


@pytest.mark.parametrize(
    ("catalogue", "division", "message"),
    [
        (TOY, Division(held_out=1), "held_out 1: the data have no test split"),
        (joined(), Division(block=1), "block 1: a refit trains on all classes"),
    ],
)
def test_a_division_that_the_data_do_not_have_is_refused(catalogue, division, message):
    with pytest.raises(ConfigError, match=message):
        divide(catalogue, {}, division, digest="")


def test_splits_are_part_of_the_digest_and_come_back_from_the_tables(tmp_path):
    catalogue = joined()
    tables.write(tmp_path, catalogue)
    assert tables.read(tmp_path).splits == catalogue.splits
    assert tables.read(tmp_path).digest == catalogue.digest
    assert catalogue.digest != replace(catalogue, splits=()).digest

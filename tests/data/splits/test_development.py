"""Development data: which classes and images training, validation and nobody may see."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import CLASSES, PER_CLASS, catalogue_of, toy_catalogue, toy_maps

from drmn.data.readers.xlsa17 import read
from drmn.data.specs import CUB
from drmn.data.splits.development import Split, divide, open_store
from drmn.data.splits.division import held_out
from drmn.errors import ConfigError

TOY = toy_catalogue()
SPLITS = ("train", "val_seen", "val_unseen")


def names_of(data, split):
    """The classes of a split's images, by their labels."""
    return [data.classes.names[label] for label in split.labels]


def paths_of(split):
    return [TOY.images[row] for row in split.rows]


def bare(images):
    """A split of so many images whose labels are their numbers; it holds no maps."""
    return Split({}, torch.arange(images), torch.arange(images), "train")


def labels_of(batches):
    return [batch.labels.tolist() for batch in batches]


@pytest.mark.parametrize("fold", [1, 2])
def test_train_and_validation_share_no_class_and_no_image(toy_store, fold):
    data = open_store(toy_store, fold=fold)
    train, seen, unseen = (set(names_of(data, getattr(data, name))) for name in SPLITS)
    assert unseen == set(TOY.folds[fold])
    assert train == seen == set(TOY.classes) - unseen
    rows = torch.cat([getattr(data, name).rows for name in SPLITS])
    assert sorted(rows.tolist()) == list(range(CLASSES * PER_CLASS))


@pytest.mark.parametrize("fold", [1, 2])
def test_a_fifth_of_each_train_class_is_held_out(toy_store, fold):
    data = open_store(toy_store, fold=fold)
    # Nine classes of ten images; three are for validation.
    assert data.val_seen.labels.bincount().tolist() == [2] * 6
    assert data.train.labels.bincount().tolist() == [8] * 6
    assert data.val_unseen.labels.bincount().tolist() == [0] * 6 + [10] * 3


@pytest.mark.parametrize("fold", [1, 2])
def test_seen_classes_come_first_and_labels_index_their_names(toy_store, fold):
    data = open_store(toy_store, fold=fold)
    assert data.classes.seen.tolist() == [True] * 6 + [False] * 3
    assert data.classes.names[6:] == TOY.folds[fold]
    for name in SPLITS:
        split = getattr(data, name)
        assert names_of(data, split) == [path.split("/")[0] for path in paths_of(split)]


@pytest.mark.parametrize("fold", [1, 2])
def test_a_class_keeps_its_attributes_and_an_image_its_maps(toy_store, fold):
    data = open_store(toy_store, fold=fold)
    order = [TOY.classes.index(name) for name in data.classes.names]
    want = torch.from_numpy(TOY.attributes[order]).float()
    torch.testing.assert_close(data.classes.attributes, want, rtol=0, atol=0)
    torch.testing.assert_close(data.classes.words.numpy(), TOY.words)
    assert data.classes.attribute_names == TOY.attribute_names
    maps = dict(toy_maps(TOY))
    batch = data.val_seen.batch(torch.tensor([3, 0]))
    assert batch.labels.tolist() == data.val_seen.labels[[3, 0]].tolist()
    for stride, level in batch.inputs.items():
        assert level.dtype == torch.float32
        want = maps[stride][data.val_seen.rows[[3, 0]]].to(torch.bfloat16).float()
        assert torch.equal(level, want)


def test_another_fold_changes_the_classes_and_no_image_of_those_seen_in_both(toy_store):
    one, two = open_store(toy_store, fold=1), open_store(toy_store, fold=2)
    assert set(one.classes.names[6:]).isdisjoint(two.classes.names[6:])
    both = set(one.classes.names[:6]) & set(two.classes.names[:6])
    assert len(both) == 3
    kept = [{p for p in paths_of(d.val_seen) if p.split("/")[0] in both} for d in (one, two)]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 3 * 2


def test_some_levels_of_a_store_may_be_left_out(toy_store):
    assert open_store(toy_store).channels == {16: 8, 32: 12}
    assert open_store(toy_store, levels="32").channels == {32: 12}
    assert open_store(toy_store, levels="32+16").channels == {16: 8, 32: 12}


def test_an_unknown_fold_is_answered_with_those_there_are(toy_store):
    with pytest.raises(ConfigError, match=re.escape("fold 3: toy has the class folds 1, 2.")):
        open_store(toy_store, fold=3)


def test_an_unknown_level_is_answered_with_those_there_are(toy_store):
    message = f"model.levels 8+16: the feature store {toy_store} holds 16+32."
    with pytest.raises(ConfigError, match=re.escape(message)):
        open_store(toy_store, levels="8+16")


def test_the_digest_is_that_of_the_features(toy, toy_store):
    assert toy.digest == toy_store.name
    assert divide(TOY, {}, digest="mine").digest == "mine"


# Which images are held out.


@pytest.mark.parametrize(
    ("images", "out"), [(1, 0), (2, 1), (3, 1), (5, 1), (8, 2), (10, 2), (12, 2), (13, 3)]
)
def test_a_class_gives_the_nearest_to_a_fifth_and_at_least_one_of_two(images, out):
    paths = [f"a/{i}.jpg" for i in range(images)]
    assert held_out(paths, np.zeros(images, dtype=np.int64)).sum() == out


sizes = st.lists(st.integers(1, 12), min_size=1, max_size=5)


def some_images(sizes):
    return [(f"class{c}/{i}.jpg", c) for c, size in enumerate(sizes) for i in range(size)]


def out_of(images):
    """The paths held out of some (path, label)."""
    out = held_out([p for p, _ in images], np.array([c for _, c in images], dtype=np.int64))
    return {path for (path, _), is_out in zip(images, out, strict=True) if is_out}


@pytest.mark.long
@given(sizes, st.data())
def test_another_class_moves_no_image_of_those_there_were(sizes, data):
    before = some_images(sizes)
    added = [(f"new/{i}.jpg", len(sizes)) for i in range(data.draw(st.integers(1, 12)))]
    together = data.draw(st.permutations(before + added))
    assert {path for path in out_of(together) if not path.startswith("new/")} == out_of(before)


@given(sizes, st.randoms(use_true_random=False))
def test_neither_the_order_of_images_nor_the_number_of_a_class_matters(sizes, chance):
    before = some_images(sizes)
    numbers = chance.sample(range(20), len(sizes))
    after = [(path, numbers[label]) for path, label in chance.sample(before, len(before))]
    assert out_of(after) == out_of(before)


def test_who_is_held_out_does_not_follow_the_order_of_the_files():
    """Photos of one bird have names in a row: the first or last fifth would be one series."""
    images = [(f"a/{i:03d}.jpg", 0) for i in range(100)]
    places = [i for i, (path, _) in enumerate(images) if path in out_of(images)]
    assert len(places) == 20
    assert 30 < np.mean(places) < 70
    assert max(np.diff(places)) > 1


# Streams.


def test_a_stream_gives_the_images_at_the_positions_asked_for():
    parts = labels_of(bare(9).stream([torch.tensor([4, 2]), torch.tensor([8])]))
    assert parts == [[4, 2], [8]]


def test_real_photos_divide_as_they_should(shared):
    data = divide(catalogue_of(read(shared("cub2010_mini"), CUB)), {}, digest="d")
    # 20 train classes and 8 validation classes with 16 trainval photos each; a fifth of 16 is 3.
    assert (len(data.train), len(data.val_seen), len(data.val_unseen)) == (20 * 13, 20 * 3, 8 * 16)

"""The stores of a folder: listed, verified, and pruned without harm to whoever reads."""

import os
from dataclasses import replace

import pytest
import torch
from feature_stores import KEY, PLAN, catalogue, filling, random_maps
from toys import write_store

from drmn.data.store import feature_store, inventory
from drmn.data.store.build import build
from drmn.data.store.integrity import check


def a_store(root, name, age, images=200):
    key = replace(KEY, dataset=name, weights=f"w-{name}")
    (root / f"weights-w-{name}.safetensors").write_bytes(b"")
    folder = write_store(root, key, catalogue(images), random_maps(images))
    os.utime(folder / "manifest.json", (1e9 - age, 1e9 - age))
    return folder


@pytest.fixture
def three(tmp_path):
    return [a_store(tmp_path, name, age) for name, age in (("new", 1), ("old", 3), ("mid", 2))]


def names(kept):
    return [store.key.dataset for store in kept]


def test_stores_are_listed_by_when_they_were_last_opened(tmp_path, three):
    assert names(inventory.list_stores(tmp_path)) == ["new", "mid", "old"]
    feature_store.read(three[1])
    assert names(inventory.list_stores(tmp_path)) == ["old", "new", "mid"]


@pytest.mark.usefixtures("three")
def test_a_store_says_how_many_images_and_bytes_it_has(tmp_path):
    kept = inventory.list_stores(tmp_path)[0]
    assert (kept.images, kept.done) == (200, 1.0)
    assert kept.bytes >= 200 * 17 * 2


def test_half_a_store_says_how_much_of_it_is_there(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, PLAN, filling(ends_after=3))
    (kept,) = inventory.list_stores(tmp_path)
    assert kept.done == 0.5
    assert kept.key == KEY


def test_a_plan_cut_short_neither_stops_a_list_nor_room_being_made(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, PLAN, filling(ends_after=3))
    (plan,) = tmp_path.glob(".*.building/plan.json")
    plan.write_text("")
    assert inventory.list_stores(tmp_path) == []
    inventory.prune(tmp_path, 0)


def test_a_store_with_all_its_shards_there_is_whole_only_once_it_is_published(tmp_path):
    seen = []

    def fill(spans):
        yield from filling()(spans)
        seen.extend(inventory.list_stores(tmp_path))
        seen.extend(inventory.prune(tmp_path, 0))

    place = build(tmp_path, PLAN, fill)
    assert [(kept.done, kept.whole) for kept in seen] == [(1.0, False)]  # listed, not pruned
    assert check(place).damage == ()


def test_what_an_interrupted_removal_left_goes_with_the_next(tmp_path):
    left = tmp_path / f".{KEY.folder}.removing"
    left.mkdir()
    (left / "level-8.arrow").write_bytes(b"")
    inventory.prune(tmp_path, 10**9)
    assert not left.exists()


@pytest.mark.usefixtures("three")
def test_a_manifest_of_something_else_is_no_store(tmp_path):
    for name, text in (("web", '{"name": "app"}'), ("broken", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(text)
    assert names(inventory.list_stores(tmp_path)) == ["new", "mid", "old"]
    inventory.prune(tmp_path, 0)
    assert (tmp_path / "web" / "manifest.json").exists()


def test_the_least_recently_used_go_until_the_rest_fits(tmp_path, three):
    size = inventory.list_stores(tmp_path)[0].bytes
    assert names(inventory.prune(tmp_path, 2 * size + 100)) == ["old"]
    assert [folder.is_dir() for folder in three] == [True, False, True]
    assert names(inventory.prune(tmp_path, 0)) == ["mid", "new"]
    assert inventory.list_stores(tmp_path) == []


@pytest.mark.usefixtures("three")
def test_weights_that_no_store_needs_go_with_the_last_store(tmp_path):
    inventory.prune(tmp_path, 2 * inventory.list_stores(tmp_path)[0].bytes + 100)
    kept = sorted(file.name for file in tmp_path.glob("weights-*"))
    assert kept == ["weights-w-mid.safetensors", "weights-w-new.safetensors"]


@pytest.mark.usefixtures("three")
def test_nothing_goes_that_fits(tmp_path):
    assert inventory.prune(tmp_path, 10**9) == []
    assert len(list(tmp_path.glob("weights-*"))) == 3


def test_a_store_that_is_open_stays(tmp_path, three):
    level = feature_store.read(three[1]).levels[8]
    assert names(inventory.prune(tmp_path, 0)) == ["mid", "new"]
    assert level.rows(torch.tensor([5])).shape == (1, 4, 3)
    del level
    assert names(inventory.prune(tmp_path, 0)) == ["old"]


@pytest.mark.usefixtures("three")
def test_a_store_in_the_making_goes_first_unless_somebody_is_at_it(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, PLAN, filling(ends_after=3))
    pruned = []

    def fill(spans):
        pruned.extend(inventory.prune(tmp_path, 0))
        yield from filling()(spans)

    place = build(tmp_path, PLAN, fill)
    assert names(pruned) == ["old", "mid", "new"]
    assert check(place).damage == ()
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, replace(PLAN, key=replace(KEY, dataset="half")), filling(ends_after=3))
    assert names(inventory.prune(tmp_path, 1)) == ["half", "toy"]

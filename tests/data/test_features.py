"""The feature store: what goes in comes out, whole or not at all."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drmn.data import features
from drmn.data.catalogue import Catalogue
from drmn.data.features import ROWS, FeatureKey
from drmn.errors import DataError

KEY = FeatureKey(
    dataset="toy",
    catalogue="c0",
    backbone="net",
    weights="w0",
    image_size=32,
    preprocess="p0",
    levels=(8, 16),
)
IMAGES = 2 * ROWS + 88  # two whole record batches and a part of one


def catalogue(images=IMAGES):
    return Catalogue(
        dataset="toy",
        root=Path("/photos"),
        images=tuple(f"a/{i}.jpg" for i in range(images)),
        digests=("",) * images,
        labels=np.zeros(images, dtype=np.int64),
        classes=("a",),
        attributes=np.ones((1, 1)),
        attribute_names=("a",),
        folds={1: ()},
    )


def random_maps(images=IMAGES):
    """Maps of any magnitude: their last bits are lost, their exponents are not."""
    generator = torch.Generator().manual_seed(0)
    sizes = {8: (4, 3), 16: (1, 5)}
    exact = {s: torch.randn(images, *shape, generator=generator) for s, shape in sizes.items()}
    return {s: maps * 10.0 ** torch.arange(-3, maps.shape[-1] - 3) for s, maps in exact.items()}


def batches(maps, sizes):
    """Yield `maps` in parts of the given sizes, the last again and again."""
    start, sizes = 0, iter(sizes)
    images, size = len(maps[8]), 0
    while start < images:
        size = next(sizes, size)
        yield {stride: level[start : start + size] for stride, level in maps.items()}
        start += size


def write(root, maps=None, sizes=(64,)):
    maps = random_maps() if maps is None else maps
    return features.write(root, KEY, catalogue(len(maps[8])), batches(maps, sizes))


def same_bits(left, right):
    assert left.dtype == right.dtype == torch.bfloat16
    assert torch.equal(left.view(torch.int16), right.view(torch.int16))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return features.read(write(tmp_path_factory.mktemp("stores")))


@pytest.mark.parametrize(
    "sizes",
    [(64,), (ROWS,), (IMAGES,), (1, 100, 255, 7, 237), (ROWS - 1, 2, ROWS + 1, 3), (1000,), (17,)],
    ids=str,
)
def test_every_row_comes_back_rounded_to_bfloat16_however_it_was_batched(tmp_path, sizes):
    maps = random_maps()
    store = features.read(write(tmp_path, maps, sizes))
    for stride, level in maps.items():
        same_bits(store.levels[stride].rows(torch.arange(IMAGES)), level.to(torch.bfloat16))


@pytest.mark.parametrize("images", [1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS])
def test_a_store_may_have_any_number_of_images(tmp_path, images):
    maps = random_maps(images)
    level = features.read(write(tmp_path, maps)).levels[8]
    assert level.shape == (images, 4, 3)
    same_bits(level.rows(torch.arange(images)), maps[8].to(torch.bfloat16))


@given(st.lists(st.integers(0, IMAGES - 1), max_size=40))
def test_rows_come_in_the_order_asked_for_and_as_often(store, indices):
    want = random_maps()[16].to(torch.bfloat16)
    same_bits(store.levels[16].rows(torch.tensor(indices, dtype=torch.long)), want[indices])


def test_a_store_says_what_it_was_made_of(store):
    assert store.key == KEY
    assert store.catalogue.digest == catalogue().digest
    assert store.folder.name == KEY.folder


@pytest.mark.parametrize("field", [field.name for field in fields(FeatureKey)])
def test_the_folder_s_name_changes_with_all_that_decides_the_content(field):
    old = getattr(KEY, field)
    new = {str: f"{old}!", int: 2, tuple: (16,)}[type(old)]
    if field == "image_size":
        new = 33
    assert replace(KEY, **{field: new}).folder != KEY.folder


def test_the_folder_s_name_can_be_read():
    assert re.fullmatch("toy-net-32px-[0-9a-f]{12}", KEY.folder)


@pytest.mark.parametrize("end", [KeyboardInterrupt, DataError, RuntimeError])
def test_a_store_that_breaks_off_half_way_leaves_nothing_behind(tmp_path, end):
    def breaking():
        for number, part in enumerate(batches(random_maps(), (64,))):
            if number == 6:  # one record batch is on the disk by now
                assert [f.name[0] for f in tmp_path.iterdir()] == ["."]
                raise end
            yield part

    with pytest.raises(end):
        features.write(tmp_path, KEY, catalogue(), breaking())
    assert list(tmp_path.iterdir()) == []


def test_of_two_writers_at_once_the_first_to_finish_is_kept(tmp_path):
    quick = random_maps()
    slow = {stride: -level for stride, level in quick.items()}
    places = []

    def overtaken():
        for number, part in enumerate(batches(slow, (64,))):
            if number == 6:
                places.append(write(tmp_path, quick))
            yield part

    places.append(features.write(tmp_path, KEY, catalogue(), overtaken()))
    assert places == [tmp_path / KEY.folder] * 2
    assert list(tmp_path.iterdir()) == [tmp_path / KEY.folder]
    rows = features.read(places[0]).levels[8].rows(torch.arange(IMAGES))
    same_bits(rows, quick[8].to(torch.bfloat16))


def test_a_folder_of_something_else_is_not_written_over(tmp_path):
    thesis = tmp_path / KEY.folder / "thesis.tex"
    thesis.parent.mkdir()
    thesis.write_text("mine")
    with pytest.raises(OSError, match="not empty"):
        write(tmp_path)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["thesis.tex"]


def test_no_store_is_answered_with_how_to_make_one(tmp_path):
    message = f"No feature store at {tmp_path / 'none'}; make it with jobs/prepare.py."
    with pytest.raises(DataError, match=re.escape(message)):
        features.read(tmp_path / "none")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.999])
def test_a_level_cut_short_is_refused_by_name(tmp_path, share):
    file = write(tmp_path) / "level-16.arrow"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(DataError, match=f"{re.escape(str(file))}: not a whole feature file"):
        features.read(file.parent)


def test_a_missing_level_is_refused_by_name(tmp_path):
    file = write(tmp_path) / "level-8.arrow"
    file.unlink()
    with pytest.raises(DataError, match=re.escape(str(file))):
        features.read(file.parent)


def test_a_level_of_another_store_is_refused_with_both_shapes(tmp_path):
    here, there = write(tmp_path / "here"), write(tmp_path / "there", random_maps(5))
    (there / "level-8.arrow").replace(here / "level-8.arrow")
    message = f"level 8 is (5, 4, 3), its manifest says ({IMAGES}, 4, 3); delete"
    with pytest.raises(DataError, match=re.escape(message)):
        features.read(here)


def test_too_few_maps_make_no_store(tmp_path):
    with pytest.raises(ValueError, match=f"{IMAGES - 1} maps for {IMAGES} images"):
        features.write(tmp_path, KEY, catalogue(), batches(random_maps(IMAGES - 1), (64,)))
    assert list(tmp_path.iterdir()) == []


def test_opening_a_store_reads_no_row(store):
    """Every row lies in a mapping of the level's own file, so only its pages are ever read."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("memory mappings are listed on Linux only")
    lines = [line.split(maxsplit=5) for line in maps.read_text().splitlines()]
    for stride, level in store.levels.items():
        file = str(store.folder / f"level-{stride}.arrow")
        spans = [line[0].split("-") for line in lines if line[-1].strip() == file]
        mapped = [(int(low, 16), int(high, 16)) for low, high in spans]
        for part in level._parts:
            start, end = part.data_ptr(), part.data_ptr() + part.nbytes
            assert any(low <= start and end <= high for low, high in mapped)


def test_rows_are_a_copy_that_may_be_written_to(store):
    before = store.levels[8].rows(torch.tensor([3]))
    store.levels[8].rows(torch.tensor([3])).zero_()
    same_bits(store.levels[8].rows(torch.tensor([3])), before)


def test_a_manifest_is_readable_by_people(store):
    manifest = json.loads((store.folder / "manifest.json").read_text())
    assert manifest["images"] == IMAGES
    assert manifest["shapes"] == {"8": [4, 3], "16": [1, 5]}


def test_a_store_is_readable_by_whom_the_umask_lets(tmp_path):
    folder = write(tmp_path / "stores")
    assert folder.stat().st_mode == folder.parent.stat().st_mode

"""The feature store: what goes in comes out, whole or not at all."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from feature_stores import IMAGES, KEY, PER_SHARD, catalogue, random_maps, same_bits
from hypothesis import given
from hypothesis import strategies as st
from toys import write_store

from drmn.data.store import feature_store, shards
from drmn.data.store.encoding import bytes_for
from drmn.data.store.feature_store import FeatureKey
from drmn.errors import DataError


def write(root, maps=None, key=KEY):
    maps = random_maps() if maps is None else maps
    return write_store(root, key, catalogue(len(maps[8]) // (1 + key.views)), maps)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return feature_store.read(write(tmp_path_factory.mktemp("stores")))


@pytest.mark.parametrize(
    "images", [1, 2, PER_SHARD - 1, PER_SHARD, PER_SHARD + 1, 2 * PER_SHARD, IMAGES]
)
def test_every_row_comes_back_rounded_to_bfloat16(tmp_path, images):
    maps = random_maps(images)
    store = feature_store.read(write(tmp_path, maps))
    for stride, level in maps.items():
        assert store.levels[stride].shape == tuple(level.shape)
        same_bits(store.levels[stride].rows(torch.arange(images)), level.to(torch.bfloat16))


@given(st.lists(st.integers(0, IMAGES - 1), max_size=40))
def test_rows_come_in_the_order_asked_for_and_as_often(store, indices):
    want = random_maps()[16].to(torch.bfloat16)
    same_bits(store.levels[16].rows(torch.tensor(indices, dtype=torch.long)), want[indices])


def test_a_level_is_an_arrow_file_that_any_arrow_reader_opens(store):
    with pa.memory_map(str(store.folder / "level-8.arrow")) as source:
        table = pa.ipc.open_file(source).read_all()
    column = table["regions"]
    assert column.type == pa.fixed_shape_tensor(pa.uint16(), (4, 3))
    bits = column.combine_chunks().to_numpy_ndarray().view(np.int16)
    want = torch.from_numpy(bits.copy()).view(torch.bfloat16)
    same_bits(store.levels[8].rows(torch.arange(IMAGES)), want)


def test_a_store_says_what_it_was_made_of(store):
    assert store.key == KEY
    assert store.catalogue.digest == catalogue().digest
    assert store.folder.name == KEY.folder


@pytest.mark.parametrize("field", [field.name for field in fields(FeatureKey)])
def test_the_folder_s_name_changes_with_all_that_decides_the_content(field):
    old = getattr(KEY, field)
    others = {"maps": "full", "encoding": "int8", "levels": (16,), "components": 0.5}
    new = others.get(field, f"{old}!" if isinstance(old, str) else 7)
    assert replace(KEY, **{field: new}).folder != KEY.folder


def test_the_folder_s_name_can_be_read():
    assert re.fullmatch("toy-net-32px-[0-9a-f]{12}", KEY.folder)
    compact = replace(KEY, encoding="int8", fold=1)
    assert re.fullmatch("toy-net-32px-int8-[0-9a-f]{12}", compact.folder)


def test_no_store_is_answered_with_how_to_make_one(tmp_path):
    message = f"No feature store at {tmp_path / 'none'}; make it with jobs/prepare.py."
    with pytest.raises(DataError, match=re.escape(message)):
        feature_store.read(tmp_path / "none")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.999])
def test_a_level_cut_short_is_refused_by_name(tmp_path, share):
    file = write(tmp_path) / "level-16.arrow"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(DataError, match=f"{re.escape(str(file))}: not a whole feature file"):
        feature_store.read(file.parent)


def test_a_missing_level_is_refused_by_name(tmp_path):
    file = write(tmp_path) / "level-8.arrow"
    file.unlink()
    with pytest.raises(DataError, match=re.escape(str(file))):
        feature_store.read(file.parent)


def test_a_manifest_cut_short_is_refused_by_name(tmp_path):
    file = write(tmp_path) / "manifest.json"
    file.write_text(file.read_text()[:100])
    with pytest.raises(DataError, match=f"{re.escape(str(file))}: not readable"):
        feature_store.read(file.parent)


def test_a_level_of_another_store_is_refused_with_both_shapes(tmp_path):
    here, there = write(tmp_path / "here"), write(tmp_path / "there", random_maps(5))
    (there / "level-8.arrow").replace(here / "level-8.arrow")
    message = f"level 8 is (5, 4, 3), its manifest says ({IMAGES}, 4, 3); run"
    with pytest.raises(DataError, match=re.escape(message)):
        feature_store.read(here)


def test_a_level_of_very_many_shards_is_whole_too(tmp_path):
    """The table of shards at a file's end is long then, and is no row that may be left out."""
    shards.lay_out(tmp_path / "a.arrow", rows=2500, per_shard=1, shape=(2, 3), dtype=np.uint16)
    laid_out = shards.Shards(tmp_path / "a.arrow")
    assert laid_out.shape == (2500, 2, 3)
    assert len(set(laid_out.offsets)) == 2500
    assert not any(part.any() for part in laid_out.parts)


def test_a_level_takes_no_space_before_it_is_filled(tmp_path):
    shards.lay_out(tmp_path / "a.arrow", rows=64, per_shard=8, shape=(49, 2048), dtype=np.uint16)
    size = (tmp_path / "a.arrow").stat()
    assert size.st_size > 64 * 49 * 2048 * 2
    assert size.st_blocks * 512 < 200_000


# Altered behind its name: found at the first touch, in the shard that is touched.


def altered(folder, row):
    """Change a bit of a row of level 16, where the file itself looks as whole as before."""
    level = feature_store.read(folder).levels[16]
    shards = level._shards
    file = folder / "level-16.arrow"
    content = bytearray(file.read_bytes())
    shard, place = divmod(row, PER_SHARD)
    content[shards.offsets[shard] + place * shards.parts[0][0].nbytes] ^= 1
    file.write_bytes(content)
    return feature_store.read(folder).levels[16]


def test_a_flipped_bit_is_found_when_its_shard_is_first_read(tmp_path):
    level = altered(write(tmp_path), row=PER_SHARD + 7)
    level.rows(torch.tensor([0, PER_SHARD - 1, 2 * PER_SHARD]))  # the other shards are as written
    message = "level-16.arrow: shard 1 of 3 is not as it was written"
    for read in (lambda: level.rows(torch.tensor([0, PER_SHARD])), lambda: level.shard(1)):
        with pytest.raises(DataError, match=message):
            read()


def test_a_shard_is_compared_with_its_checksum_once_a_process(tmp_path):
    folder = write(tmp_path)
    feature_store.read(folder).levels[8].rows(torch.tensor([PER_SHARD]))
    level = feature_store.read(folder).levels[8]  # as the next trial does
    assert level._unchecked == {0, 2}
    level.rows(torch.arange(IMAGES))
    assert feature_store.read(folder).levels[8]._unchecked == set()


def test_bytes_without_their_scales_are_not_taken_for_numbers(tmp_path):
    form = bytes_for(torch.zeros(3), torch.ones(3))
    key = replace(KEY, encoding="int8", fold=1, levels=(8,))
    maps = {8: random_maps(20)[8]}
    folder = write_store(tmp_path, key, catalogue(20), maps, forms={8: form})
    (folder / "scales.safetensors").unlink()
    with pytest.raises(DataError, match=r"scales\.safetensors: missing"):
        feature_store.read(folder)


# Memory.


def test_opening_a_store_reads_no_row_and_a_shard_is_not_copied(store):
    """Every row lies in a mapping of the level's own file, so only its pages are ever read."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("memory mappings are listed on Linux only")
    lines = [line.split(maxsplit=5) for line in maps.read_text().splitlines()]
    for stride, level in store.levels.items():
        file = str(store.folder / f"level-{stride}.arrow")
        spans = [line[0].split("-") for line in lines if line[-1].strip() == file]
        mapped = [(int(low, 16), int(high, 16)) for low, high in spans]
        for shard in range(3):
            part = level.shard(shard)
            start, end = part.data_ptr(), part.data_ptr() + part.nbytes
            assert any(low <= start and end <= high for low, high in mapped)


def test_a_shard_is_its_rows(store):
    for shard in range(3):
        rows = torch.arange(shard * PER_SHARD, min((shard + 1) * PER_SHARD, IMAGES))
        same_bits(store.levels[16].shard(shard), store.levels[16].rows(rows))


@pytest.mark.long
@pytest.mark.parametrize("count", [1, PER_SHARD, PER_SHARD + 5, IMAGES])
def test_means_and_maxima_are_those_of_the_first_rows(store, count):
    level = store.levels[8]
    rows = level.rows(torch.arange(count)).float()
    means, maxima = level.pools(count)
    torch.testing.assert_close(means, rows.mean(dim=1))
    torch.testing.assert_close(maxima, rows.amax(dim=1))


def test_rows_are_a_copy_that_may_be_written_to(store):
    before = store.levels[8].rows(torch.tensor([3]))
    store.levels[8].rows(torch.tensor([3])).zero_()
    same_bits(store.levels[8].rows(torch.tensor([3])), before)


# Bytes instead of bfloat16.


def test_bytes_are_right_to_half_a_step_of_their_channel(tmp_path):
    maps = random_maps(50)
    forms = {
        s: bytes_for(level.amin(dim=(0, 1)), level.amax(dim=(0, 1))) for s, level in maps.items()
    }
    key = replace(KEY, encoding="int8", fold=1)
    store = feature_store.read(write_store(tmp_path, key, catalogue(50), maps, forms=forms))
    assert (store.folder / "level-8.arrow").stat().st_size < 50 * 4 * 3 + 2000
    for stride, level in maps.items():
        rows = store.levels[stride].rows(torch.arange(50))
        assert rows.dtype == torch.float32
        wrong = (rows - level).abs().amax(dim=(0, 1))
        assert (wrong <= 0.501 * forms[stride].step).all()


def test_a_channel_that_is_constant_stays_it():
    form = bytes_for(torch.tensor([2.5]), torch.tensor([2.5]))
    assert form.decode(form.encode(torch.full((1, 1, 1), 2.5))).item() == 2.5


def test_values_outside_the_fitted_range_are_cut_off():
    form = bytes_for(torch.tensor([0.0]), torch.tensor([1.0]))
    there = form.decode(form.encode(torch.tensor([[[-3.0], [0.5], [7.0]]]))).flatten()
    torch.testing.assert_close(there, torch.tensor([0.0, 0.5, 1.0]), atol=0.002, rtol=0)


# Files.


def test_a_manifest_is_readable_by_people(store):
    manifest = json.loads((store.folder / "manifest.json").read_text())
    assert manifest["images"] == manifest["rows"] == IMAGES
    assert manifest["shapes"] == {"8": [4, 3], "16": [1, 5]}
    assert {stride: len(digests) for stride, digests in manifest["shards"].items()} == {
        "8": 3,
        "16": 3,
    }


def test_a_store_is_readable_by_whom_the_umask_lets(tmp_path):
    folder = write(tmp_path / "stores")
    assert folder.stat().st_mode == folder.parent.stat().st_mode

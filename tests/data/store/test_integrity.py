"""A store is as it was written, or it is named."""

import shutil

import pytest

from drmn.data.store.integrity import check, summary


@pytest.fixture
def copy(toy_store, tmp_path):
    return shutil.copytree(toy_store, tmp_path / "store")


def test_an_untouched_store_is_as_it_was_written(copy):
    before = {file.name: file.stat().st_mtime_ns for file in copy.iterdir()}
    health = check(copy)
    assert health.damage == ()
    assert sorted(health.shards) == [0]
    assert {file.name: file.stat().st_mtime_ns for file in copy.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("level-16.arrow", "level-16.arrow, shard 0"),
        ("level-32.arrow", "level-32.arrow, shard 0"),
        ("images.parquet", "images.parquet"),
        ("fence.parquet", "fence.parquet"),
    ],
)
def test_one_altered_bit_is_found_and_its_place_named(copy, name, words):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    assert check(copy).damage == (words,)


def test_a_missing_file_is_named(copy):
    (copy / "classes.parquet").unlink()
    assert check(copy).damage == ("classes.parquet",)


def test_a_manifest_that_cannot_be_read_is_damage_too(copy):
    (copy / "manifest.json").write_text("{")
    assert check(copy).damage == ("manifest.json",)


def test_a_missing_level_is_damage_in_every_shard(copy):
    (copy / "level-16.arrow").unlink()
    health = check(copy)
    assert health.damage == ("level-16.arrow, shard 0",)
    assert health.shards == {}


def test_a_summary_names_the_first_and_counts_the_rest():
    assert summary(("a",)) == "a"
    assert summary(("a", "b", "c")) == "a and 2 more"

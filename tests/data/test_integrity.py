"""A store is as it was written, or it is named."""

import shutil

import pytest

from drmn.data.integrity import damaged


@pytest.fixture
def copy(toy_store, tmp_path):
    return shutil.copytree(toy_store, tmp_path / "store")


def test_an_untouched_store_is_as_it_was_written(copy):
    before = {file.name: file.stat().st_mtime_ns for file in copy.iterdir()}
    assert damaged(copy) == []
    assert {file.name: file.stat().st_mtime_ns for file in copy.iterdir()} == before


@pytest.mark.parametrize("name", ["level-16.arrow", "level-32.arrow", "images.parquet"])
def test_one_altered_bit_is_found_and_its_file_named(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    assert damaged(copy) == [name]


def test_a_missing_file_is_named(copy):
    (copy / "classes.parquet").unlink()
    assert damaged(copy) == ["classes.parquet"]


def test_a_manifest_that_cannot_be_read_is_damage_too(copy):
    (copy / "manifest.json").write_text("{")
    assert damaged(copy) == ["manifest.json"]

"""A store is as it was written, or it is named."""

import shutil

import pytest

from drmn.data.integrity import verify
from drmn.errors import DataError


@pytest.fixture
def copy(toy_store, tmp_path):
    return shutil.copytree(toy_store, tmp_path / "store")


def test_an_untouched_store_is_as_it_was_written(copy):
    before = {file.name: file.stat().st_mtime_ns for file in copy.iterdir()}
    verify(copy)
    assert {file.name: file.stat().st_mtime_ns for file in copy.iterdir()} == before


@pytest.mark.parametrize("name", ["level-16.arrow", "level-32.arrow", "images.parquet"])
def test_one_altered_bit_is_found_and_its_file_named(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: not as it was written"):
        verify(copy)


def test_a_missing_file_is_named(copy):
    (copy / "classes.parquet").unlink()
    with pytest.raises(DataError, match=r"classes\.parquet: not as it was written"):
        verify(copy)

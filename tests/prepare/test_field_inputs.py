"""Datasets as people have them (shared/data/field): read, or refused in a sentence."""

import pytest

from drmn.errors import DataError
from drmn.prepare.datasets import open_dataset


@pytest.mark.parametrize(
    ("name", "images", "note"),
    [
        ("own/plain", 48, ""),
        ("own/appledouble", 48, "leftovers of other programs"),
        ("own/ipynb_class", 48, "leftovers of other programs"),
        ("own/nfd", 48, ""),
        ("png16grey", 48, ""),
        ("exif", 49, ""),
    ],
)
def test_what_is_read_is_read(shared, tmp_path, name, images, note):
    catalogue = open_dataset("own", shared("field") / name, tmp_path)
    assert len(catalogue.images) == images
    assert len(catalogue.notes) == bool(note)
    assert note in "".join(catalogue.notes)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("split_twice", "class ant is train in line 2 and test in line 10"),
        ("dup_header", "line 1: columns 2 and 3 are both called 'a'"),
        ("all_equal", "all classes have the same attributes"),
        ("unclosed_big", "line 1: a quote is not closed"),
        ("one_image_each", "no training class of fold 1 has two photos"),
    ],
)
def test_what_is_refused_is_refused_in_a_sentence(shared, tmp_path, name, words):
    with pytest.raises(DataError, match=words) as refused:
        open_dataset("own", shared("field") / "own" / name, tmp_path)
    assert len(str(refused.value).splitlines()) == 1

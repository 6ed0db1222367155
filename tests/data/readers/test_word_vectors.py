"""Word vectors: numbers are read, and nothing else is ever called."""

import os
import pickle
import re

import numpy as np
import pytest

from drmn.data.readers import word_vectors
from drmn.errors import DataError

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3) + 1


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickled_array_is_read(tmp_path, protocol):
    with (tmp_path / "w.pkl").open("wb") as file:
        pickle.dump(VECTORS, file, protocol=protocol)
    np.testing.assert_array_equal(word_vectors.read(tmp_path / "w", 4), VECTORS)


@pytest.mark.parametrize(("name", "count"), [("CUB", 312), ("SUN", 102), ("AWA2", 85)])
def test_the_pickles_that_go_round_are_those_numbers(shared, tmp_path, name, count):
    folder = shared("xlsa17_meta") / "w2v"
    (tmp_path / "w.pkl").write_bytes((folder / f"{name}_attribute.pkl").read_bytes())
    read = word_vectors.read(tmp_path / "w", count)
    np.testing.assert_allclose(read, np.load(folder / f"{name}_attribute.npy"), rtol=1e-6)


class Harmful:
    def __reduce__(self):
        return os.system, ("touch harmed",)


@pytest.mark.parametrize("content", [Harmful(), [Harmful()], {"a": VECTORS, "b": Harmful()}, eval])
def test_a_pickle_that_calls_something_is_refused_and_not_obeyed(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(content))
    message = f"{tmp_path / 'w.pkl'}: refused, since it is no plain array of numbers"
    with pytest.raises(DataError, match=re.escape(message)):
        word_vectors.read(tmp_path / "w", 4)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"no pickle at all"])
def test_a_broken_pickle_is_refused_by_name(tmp_path, content):
    (tmp_path / "w.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"w.pkl: refused"):
        word_vectors.read(tmp_path / "w", 4)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (VECTORS[:3], "shape (3, 3) where 4 word vectors are needed"),
        (VECTORS * np.nan, "holds something that is no finite number"),
        (VECTORS.astype(str), "holds something that is no finite number"),
    ],
)
def test_what_is_no_vector_for_each_attribute_is_refused(tmp_path, array, text):
    np.save(tmp_path / "w.npy", array)
    with pytest.raises(DataError, match=re.escape(text)):
        word_vectors.read(tmp_path / "w", 4)


def test_an_npy_file_goes_before_a_pickle_and_neither_is_none(tmp_path):
    assert word_vectors.read(tmp_path / "w", 4) is None
    (tmp_path / "w.pkl").write_bytes(b"broken")
    np.save(tmp_path / "w.npy", VECTORS)
    np.testing.assert_array_equal(word_vectors.read(tmp_path / "w", 4), VECTORS)


def test_a_vector_of_zeros_is_noted(shared):
    names = tuple(f"attribute {i + 1}" for i in range(102))
    sun = word_vectors.read(shared("xlsa17_meta") / "w2v" / "SUN_attribute", 102)
    (note,) = word_vectors.note(sun, names)
    assert note == (
        "1 word vectors are all zeros, such as that of attribute 89 (row 89): they say nothing."
    )
    assert word_vectors.note(VECTORS, names) == word_vectors.note(None, names) == ()

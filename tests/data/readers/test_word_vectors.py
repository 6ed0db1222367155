"""Word vectors: numbers are read, and nothing else is ever called."""

import os
import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drmn.data.readers import word_vectors
from drmn.data.readers.pickled_numbers import NotNumbersError, loads
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


def dtype_with_state(state):
    """Return a pickle that builds a dtype with a state, which NumPy follows without a check."""
    made = b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R"
    return made + pickle.dumps(state, protocol=2)[2:-1] + b"b."


@pytest.mark.parametrize(
    "content",
    [
        # Each of these ended the process, or took all memory, where NumPy was called.
        dtype_with_state((3, "<", ("f8", (1 << 40,)), None, None, 8, 8, 0)),
        dtype_with_state((4, "|", None, ("a",), {"a": (1, 2)}, 1 << 40, 1, 27)),
        pickle.dumps(np.zeros(3, dtype="V8")),
        pickle.dumps(np.zeros(3, dtype=[("a", "f4")])),
        pickle.dumps(np.zeros(3, dtype=object)),
        pickle.dumps(np.array(["text"])),
        pickle.dumps(VECTORS, protocol=2).replace(b"K\x04K\x03\x86", b"J\xff\xff\xff\x7fK\x03\x86"),
        pickle.dumps(VECTORS, protocol=2)[:-40] + b".",
        pickle.dumps([[[1.0]]]),
        pickle.dumps({"a": 1.0}),
        b"]" + b"2" * 60 + b".",
    ],
)
def test_what_is_no_array_of_plain_numbers_is_refused(content):
    with pytest.raises(NotNumbersError):
        loads(content)


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(VECTORS),
        VECTORS.astype(">f8"),
        VECTORS.astype(np.int16),
        np.zeros((0, 3), dtype=np.float32),
        VECTORS[::2],
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_arrays_of_any_order_and_number_are_read(array, protocol):
    read = loads(pickle.dumps(array, protocol=protocol))
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
    rows = loads(pickle.dumps([list(map(float, row)) for row in array], protocol=protocol))
    np.testing.assert_array_equal(np.asarray(rows).reshape(array.shape), array)


@pytest.mark.long
@settings(max_examples=400, deadline=None)
@given(
    protocol=st.integers(0, 5),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 400),
)
def test_a_damaged_pickle_is_an_array_or_is_refused(protocol, changes, cut):
    content = bytearray(pickle.dumps(VECTORS, protocol=protocol))
    for place, value in changes:
        content[place % len(content)] = value
    try:
        read = loads(bytes(content[: len(content) - cut % 3]))
    except NotNumbersError:
        return
    assert np.asarray(read).dtype.kind in "fiu"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_an_array_or_are_refused(content):
    try:
        loads(content)
    except NotNumbersError:
        return


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

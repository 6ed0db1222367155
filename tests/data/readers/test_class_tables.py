"""Tables as people have them: what contradicts itself is refused with file and line."""

import re

import pytest

from drmn.data.readers.class_tables import read_attributes, read_splits
from drmn.errors import DataError

HEADER = "class,a,b\n"


def attributes(folder, text):
    path = folder / "attributes.csv"
    path.write_text(text)
    return read_attributes(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class,a,a\nx,0,1\ny,1,0\n", "line 1: columns 2 and 3 are both called 'a'"),
        ("class,a,a \nx,0,1\ny,1,0\n", "line 1: columns 2 and 3 are both called 'a'"),
        ("class,e\u0301,\u00e9\nx,0,1\ny,1,0\n", "columns 2 and 3 are both called"),
        ("class,a,\nx,0,1\ny,1,0\n", "line 1: column 3 has no name"),
        (HEADER + "x,1,1\ny,2,2\nz,1,1\n", "lines 2 to 4: all classes have the same attributes"),
        ('class,"a,b\nx,0,1\ny,1,0\n', "line 1: a quote is not closed"),
        (HEADER + 'x,0,1\n"y,1,0\nz,1,1\n', "line 3: a quote is not closed"),
        (HEADER + '"x,0,1\ny",1,0\nz,1,1\n', "line 2: a quote is closed only in line 3"),
        (HEADER + 'x,0,1\n"y,1,0\n' + "z,1,1\n" * 40_000, "line 3: a quote is not closed"),
        (HEADER + "x,0,1\ny,1,0\nx,1,1\n", "class x has two rows, lines 2 and 4"),
        (HEADER + "\nx,0,1\ny,1,q\n", "line 4: class y: 'q' is no number"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused_with_its_line(tmp_path, text, words):
    with pytest.raises(DataError, match=re.escape(words)) as refused:
        attributes(tmp_path, text)
    assert str(refused.value).startswith(f"{tmp_path / 'attributes.csv'}: ")


def test_classes_of_equal_attributes_are_noted(tmp_path):
    notes = attributes(tmp_path, HEADER + "x,0,1\ny,1,0\nz,0,2\n")[3]
    assert [note[:75] for note in notes] == [
        "1 classes have the attributes of another, such as z (line 4) of x (line 2):"
    ]


def test_a_class_in_two_splits_is_refused_with_both_lines(tmp_path):
    path = tmp_path / "splits.csv"
    path.write_text("class,split\nx,train\ny,val\nx,test\n")
    with pytest.raises(DataError, match="class x is train in line 2 and test in line 4"):
        read_splits(path, ["x", "y"])


def test_a_row_given_twice_alike_contradicts_nothing(tmp_path):
    path = tmp_path / "splits.csv"
    path.write_text("class,split\nx,train\ny, val\nx,train\n")
    assert read_splits(path, ["x", "y"]) == {"x": "train", "y": "val"}

"""The catalogue: what is written is read, and its digest names all that could change a result."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from drmn.data.images import catalogue as catalogues
from drmn.data.images.catalogue import Catalogue, Fence, fence_of
from drmn.errors import DataError

PLAIN = (
    *("dataset", "images", "digests", "classes", "attribute_names"),
    *("folds", "fence", "notes", "skipped"),
)

TWO = Catalogue(
    dataset="two",
    files=(Path("/photos/1.jpg"), Path("/photos/2.jpg"), Path("/photos/3.jpg")),
    images=("a+b/1.jpg", "a+b/2.jpg", "ç/ü 3.jpg"),
    digests=("a", "b", "c"),
    sizes=np.array([[20, 30], [40, 50], [60, 70]]),
    boxes=np.array([[0, 0, 9, 9], [1, 2, 8, 7], [0, 0, 60, 70]]),
    labels=np.array([0, 0, 1]),
    classes=("a+b", "ç"),
    attributes=np.array([[0.6, 0.8], [1 / 3, np.sqrt(8) / 3]]),
    attribute_names=("has_bill::curved", "has_bill::all-purpose"),
    words=np.array([[0.1, 0.2, 0.3], [-1, 0, 1]], dtype=np.float32),
    folds={1: ("ç",), 3: ("a+b",)},
    fence=fence_of(("a+b/9.jpg",), ("secret",)),
    notes=("two: a subset.",),
    skipped=("ç/4.jpg",),
)


def moved(array, *place):
    changed = array.copy()
    changed[place] += 1
    return changed


@pytest.mark.parametrize(
    "catalogue",
    [TWO, replace(TWO, words=None, notes=(), sizes=None, boxes=None, fence=Fence(), skipped=())],
)
def test_what_is_written_is_read(tmp_path, catalogue):
    catalogues.write(tmp_path, catalogue)
    again = catalogues.read(tmp_path)
    assert again.digest == catalogue.digest
    for name in PLAIN:
        assert getattr(again, name) == getattr(catalogue, name), name
    for name in ("labels", "attributes", "words", "sizes", "boxes"):
        left, right = getattr(again, name), getattr(catalogue, name)
        np.testing.assert_array_equal(left, right)
        assert right is None or left.dtype == right.dtype, name


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "three"},
        {"images": ("a+b/1.jpg", "a+b/2.jpg", "ç/4.jpg")},
        {"images": ("a+b/2.jpg", "a+b/1.jpg", "ç/ü 3.jpg")},
        {"digests": ("a", "b", "d")},
        {"labels": moved(TWO.labels, 1)},
        {"classes": ("a+b", "c")},
        {"attributes": moved(TWO.attributes, 1, 0)},
        {"attribute_names": ("has_bill::curved", "has_bill::hooked")},
        {"words": moved(TWO.words, 0, 2)},
        {"words": None},
        {"boxes": None},
        {"boxes": moved(TWO.boxes, 1, 3)},
        {"fence": Fence()},
        {"fence": fence_of(("a+b/9.jpg",), ("secrets",))},
        {"folds": {1: ("ç",), 3: ("ç",)}},
        {"folds": {1: ("ç",)}},
        {"folds": {2: ("ç",), 3: ("a+b",)}},
    ],
    ids=str,
)
def test_the_digest_changes_with_anything_that_could_change_a_result(change):
    assert replace(TWO, **change).digest != TWO.digest


def test_the_digest_tells_the_smallest_change_of_an_attribute():
    nudged = TWO.attributes.copy()
    nudged[0, 0] = np.nextafter(nudged[0, 0], 1)
    assert replace(TWO, attributes=nudged).digest != TWO.digest


def test_the_digest_does_not_change_with_the_place_or_the_order_of_a_fold():
    several = replace(TWO, folds={1: ("ç", "a+b"), 3: ()})
    shuffled = replace(several, folds={3: (), 1: ("a+b", "ç")}, files=(Path("/elsewhere"),) * 3)
    assert shuffled.digest == several.digest


def test_a_person_finds_path_digest_class_split_and_size_of_each_image(tmp_path):
    catalogues.write(tmp_path, TWO)
    rows = pq.read_table(tmp_path / "images.parquet").to_pylist()
    assert rows[1] == {
        "path": "a+b/2.jpg",
        "digest": "b",
        "class": "a+b",
        "split": "trainval",
        "height": 40,
        "width": 50,
        "left": 1,
        "top": 2,
        "right": 8,
        "bottom": 7,
    }


def test_the_file_holds_the_digest_of_everything(tmp_path):
    catalogues.write(tmp_path, TWO)
    about = json.loads(pq.read_schema(tmp_path / "images.parquet").metadata[b"about"])
    assert about["digest"] == TWO.digest


@pytest.mark.parametrize(
    ("images", "classes", "words"),
    [
        (("a+b/9.jpg",), (), "two: the development data hold a+b/9.jpg, a test image"),
        (("a+b/1.jpg",), ("a+b", "secret"), "two: the development data hold secret, a test class"),
    ],
)
def test_what_is_sealed_is_recognised_by_its_name(images, classes, words):
    with pytest.raises(DataError, match=re.escape(words)):
        TWO.fence.check("two", images, classes)


def test_a_fence_knows_names_by_their_hashes_alone(tmp_path):
    TWO.fence.check("two", TWO.images, TWO.classes)
    catalogues.write(tmp_path, TWO)
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"secret" not in content
    assert b"a+b/9.jpg" not in content


def test_photos_are_files_with_what_of_them_is_shown():
    first, second, _ = TWO.photos()
    assert (first.file, first.box, first.name) == (TWO.files[0], (0, 0, 9, 9), "a+b/1.jpg")
    assert second.box == (1, 2, 8, 7)
    assert replace(TWO, boxes=None).photos()[1].box is None

"""The catalogue: what is written is read, and its digest names all that could change a result."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drmn.data import catalogue as catalogues
from drmn.data.catalogue import Catalogue

TWO = Catalogue(
    dataset="two",
    root=Path("/photos"),
    images=("a+b/1.jpg", "a+b/2.jpg", "ç/ü 3.jpg"),
    digests=("a", "b", "c"),
    labels=np.array([0, 0, 1]),
    classes=("a+b", "ç"),
    attributes=np.array([[0.6, 0.8], [1 / 3, np.sqrt(8) / 3]]),
    attribute_names=("has_bill::curved", "has_bill::all-purpose"),
    words=np.array([[0.1, 0.2, 0.3], [-1, 0, 1]], dtype=np.float32),
    folds={1: ("ç",), 3: ("a+b",)},
    notes=("two: a subset.",),
)


def moved(array, *place):
    changed = array.copy()
    changed[place] += 1
    return changed


@pytest.mark.parametrize("catalogue", [TWO, replace(TWO, words=None, notes=())])
def test_what_is_written_is_read(tmp_path, catalogue):
    catalogues.write(tmp_path, catalogue)
    again = catalogues.read(tmp_path)
    assert again.digest == catalogue.digest
    for name in ("dataset", "images", "digests", "classes", "attribute_names", "folds", "notes"):
        assert getattr(again, name) == getattr(catalogue, name), name
    for name in ("labels", "attributes", "words"):
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
    shuffled = replace(several, folds={3: (), 1: ("a+b", "ç")}, root=Path("/elsewhere"))
    assert shuffled.digest == several.digest


def test_leaving_out_images_keeps_the_others_with_their_labels():
    rest = TWO.without({"a+b/2.jpg", "no such image"})
    assert rest.images == ("a+b/1.jpg", "ç/ü 3.jpg")
    assert rest.digests == ("a", "c")
    assert rest.labels.tolist() == [0, 1]
    assert rest.classes == TWO.classes
    assert TWO.without(set()).digest == TWO.digest

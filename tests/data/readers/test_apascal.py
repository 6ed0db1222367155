"""aPY: photos of several objects, known by their boxes.

No copy of aPY's files was at hand: these are made in its layout, and their names are invented.
"""

import re

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from toys import catalogue_of

from drmn.data.images.check import inspect
from drmn.data.images.decode import load
from drmn.data.readers.listing import sealed_part
from drmn.data.readers.xlsa17 import read
from drmn.data.specs import APY
from drmn.errors import DataError

CLASSES = ("dog", "car", "boat", "cow", "goat")  # the last two are unseen
# photo, class, box counted from 1 with both ends included
PASCAL = [
    ("2008_1.jpg", "dog", (1, 1, 30, 40)),
    ("2008_1.jpg", "cow", (31, 1, 60, 40)),  # in the same photo: unseen
    ("2008_2.jpg", "car", (5, 5, 44, 34)),
    ("2008_2.jpg", "car", (10, 10, 60, 40)),
    ("2008_3.jpg", "boat", (1, 1, 60, 40)),
    ("2008_3.jpg", "dog", (1, 1, 20, 20)),
]
YAHOO = [("goat_1.jpg", "goat", (1, 1, 50, 40)), ("boat_7.jpg", "boat", (2, 2, 30, 30))]
SPLITS = {"trainval_loc": [1, 3, 5, 8], "test_seen_loc": [4, 6], "test_unseen_loc": [2, 7]}


def cells(texts):
    return np.array(texts, dtype=object)[:, None]


def write_table(path, rows):
    lines = [f"{p} {c} {' '.join(map(str, box))} {' '.join(['0'] * 64)}" for p, c, box in rows]
    path.write_text("\n".join(lines))


@pytest.fixture
def apy(tmp_path):
    """A root as a user has it: VOC2008, aYahoo's photos, the tables, the proposed splits."""
    photos = {"VOCdevkit/VOC2008/JPEGImages": PASCAL, "ayahoo_test_images": YAHOO}
    chance = np.random.default_rng(0)
    for folder, rows in photos.items():
        (tmp_path / folder).mkdir(parents=True)
        for photo in {photo for photo, *_ in rows}:
            pixels = chance.integers(0, 255, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / photo)
    tables = tmp_path / "attribute_data"
    tables.mkdir()
    write_table(tables / "apascal_train.txt", PASCAL[:3])
    write_table(tables / "apascal_test.txt", PASCAL[3:])
    write_table(tables / "ayahoo_test.txt", YAHOO)
    splits = tmp_path / "xlsa17" / "data" / "APY"
    splits.mkdir(parents=True)
    files = [f"/BS/x/VOC2012/JPEGImages/{photo}" for photo, *_ in PASCAL]
    files += [f"/BS/x/ayahoo_test_images//{photo}" for photo, *_ in YAHOO]
    labels = [[CLASSES.index(name) + 1] for _, name, _ in [*PASCAL, *YAHOO]]
    savemat(
        splits / "res101.mat", {"image_files": cells(files), "labels": np.array(labels, np.uint8)}
    )
    values = chance.random((64, len(CLASSES)))
    places = {name: np.array(loc, np.uint16)[:, None] for name, loc in SPLITS.items()}
    names = {"allclasses_names": cells(CLASSES), "original_att": values, "att": values}
    savemat(splits / "att_splits.mat", names | places)
    (splits / "valclasses1.txt").write_text("dog\n")
    return tmp_path


def test_an_object_is_its_photo_and_its_box(apy):
    found = read(apy, APY)
    assert found.images[0] == "JPEGImages/2008_1.jpg#0,0,30,40"
    assert found.images[6] == "ayahoo_test_images/goat_1.jpg#0,0,50,40"
    assert found.files[6] == apy / "ayahoo_test_images" / "goat_1.jpg"
    assert found.boxes[2].tolist() == [4, 4, 44, 34]
    assert found.boxes[3].tolist() == [9, 9, 60, 40]  # the second car in that photo
    assert load(found.files[2], found.photos()[2].box).shape == (3, 30, 40)


def test_a_photo_may_show_a_training_object_and_a_test_object(apy, tmp_path):
    found = read(apy, APY)
    catalogue = catalogue_of(found)
    assert [name.split("#")[0] for name in catalogue.images] == [
        "JPEGImages/2008_1.jpg",
        "JPEGImages/2008_2.jpg",
        "JPEGImages/2008_3.jpg",
        "ayahoo_test_images/boat_7.jpg",
    ]
    assert catalogue.classes == ("dog", "car", "boat")
    assert catalogue.sizes.tolist() == [[40, 30], [30, 40], [40, 60], [29, 29]]
    catalogue.fence.check("apy", catalogue.images, catalogue.classes)
    sealed = sealed_part(found, inspect(found.photos(), tmp_path / "images.db"), catalogue)
    assert sealed.images[0] == "JPEGImages/2008_1.jpg#30,0,60,40"
    assert sealed.unseen == ("cow", "goat")
    assert sealed.boxes.tolist() == [
        [30, 0, 60, 40],
        [9, 9, 60, 40],
        [0, 0, 20, 20],
        [0, 0, 50, 40],
    ]


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda tables: (tables / "apascal_test.txt").unlink(),
            "apascal_test.txt: no such file; it holds the boxes of aPY's objects",
        ),
        (
            lambda tables: edit(tables / "apascal_train.txt", "car 5 5", "bus 5 5"),
            "no car in JPEGImages/2008_2.jpg is left for image 4 of res101.mat",
        ),
        (
            lambda tables: edit(tables / "ayahoo_test.txt", "goat 1 1 50 40", "goat 1 1 50"),
            "no such box",
        ),
        (
            lambda tables: edit(tables / "ayahoo_test.txt", "goat 1 1", "goat one 1"),
            "ayahoo_test.txt: line 1 has no box of four numbers",
        ),
        (
            lambda tables: (tables / "ayahoo_test.txt").write_text("goat_1.jpg"),
            "ayahoo_test.txt: line 1 has no box of four numbers",
        ),
    ],
)
def test_tables_that_do_not_fit_are_refused_by_name(apy, change, words):
    change(apy / "attribute_data")
    if words == "no such box":  # the first attribute is taken for its edge: the box shows nothing
        found = read(apy, APY)
        with pytest.raises(DataError, match="shows nothing of its 60 x 40 pixels"):
            load(found.files[6], found.photos()[6].box)
        return
    with pytest.raises(DataError, match=re.escape(words)):
        read(apy, APY)


def test_missing_photos_of_either_set_are_named(apy):
    (apy / "ayahoo_test_images" / "goat_1.jpg").unlink()
    with pytest.raises(DataError, match=r"goat_1.jpg: no such image; 1 of the 8 images"):
        read(apy, APY)
    (apy / "VOCdevkit" / "VOC2008" / "JPEGImages").rename(apy / "photos")
    with pytest.raises(DataError, match="no folder JPEGImages/ with apy's images"):
        read(apy, APY)

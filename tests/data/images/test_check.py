"""Every image is decoded once, and what is wrong with one is known by name before anything else."""

import os
import re
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from drmn.data.images import check
from drmn.data.images.check import inspect
from drmn.data.images.decode import Photo
from drmn.data.readers import listing
from drmn.data.readers.listing import Listing, development, refuse_bad, sealed_part
from drmn.data.sealed.seal import split_of
from drmn.errors import DataError

SPLITS = ("trainval", "test_seen", "trainval", "trainval", "test_unseen", "trainval")
NAMES = tuple(f"a/{i}.png" for i in range(6))


@pytest.fixture
def found(tmp_path):
    """Six images of three classes: four of trainval, of which a is seen and c is not."""
    chance = np.random.default_rng(0)
    (tmp_path / "a").mkdir()
    for i, name in enumerate(NAMES):
        pixels = chance.integers(0, 255, (20 + i, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    return Listing(
        dataset="six",
        images=NAMES,
        files=tuple(tmp_path / name for name in NAMES),
        labels=np.array([0, 0, 1, 1, 2, 0]),
        splits=SPLITS,
        classes=("a", "b", "c"),
        attributes=np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]]),
        attribute_names=("x", "y"),
        words=None,
        folds={1: ("b",)},
        notes=(),
    )


def checked(found, tmp_path, told=lambda *_: None):
    return inspect(found.photos(), tmp_path / "memory" / "images.db", told)


def test_digests_and_sizes_are_those_of_the_files(found, tmp_path):
    result = checked(found, tmp_path)
    assert result.sizes.tolist() == [[20 + i, 30] for i in range(6)]
    assert len(set(result.digests)) == 6
    assert result.problems == {}


def test_what_was_decoded_before_is_not_decoded_again(found, tmp_path, monkeypatch):
    first = checked(found, tmp_path)
    monkeypatch.setattr(check, "load", lambda *_: pytest.fail("decoded again"))
    again = checked(found, tmp_path)
    assert again.digests == first.digests
    assert (again.sizes == first.sizes).all()


def test_a_file_that_changed_is_looked_at_again(found, tmp_path):
    before = checked(found, tmp_path).digests
    Image.new("RGB", (40, 40)).save(found.files[2])
    after = checked(found, tmp_path)
    assert [i for i in range(6) if after.digests[i] != before[i]] == [2]
    assert after.sizes[2].tolist() == [40, 40]


def test_an_interrupted_check_goes_on(found, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "AT_A_TIME", 2)

    def stop(done, _):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checked(found, tmp_path, stop)
    looked, load = [], check.load
    monkeypatch.setattr(check, "load", lambda file, box: looked.append(file) or load(file, box))
    checked(found, tmp_path)
    assert sorted(looked) == sorted(found.files[4:])


def test_a_memory_that_is_no_database_is_begun_anew(found, tmp_path):
    before = checked(found, tmp_path)
    (tmp_path / "memory" / "images.db").write_bytes(b"no database" * 1000)
    assert checked(found, tmp_path).digests == before.digests


def test_progress_counts_to_all_of_them(found, tmp_path):
    told = []
    checked(found, tmp_path, lambda *done: told.append(done))
    assert told[-1] == (6, 6)


def spoil(found, *places, content=b"<html>429</html>"):
    for place in places:
        found.files[place].write_bytes(content)


def test_unreadable_images_stop_it_by_name_and_number(found, tmp_path):
    spoil(found, 1, 3, 4)
    words = f"^{re.escape(str(found.files[1]))}: not a readable image.* So are 2 more of 6, "
    with pytest.raises(DataError, match=words + "such as a/3.png, a/4.png.$"):
        refuse_bad(found, checked(found, tmp_path))


def test_an_image_of_hardly_any_pixels_shows_nothing(found, tmp_path):
    Image.new("RGB", (1, 1)).save(found.files[0])
    with pytest.raises(DataError, match=r"0.png: only 1 x 1 pixels."):
        refuse_bad(found, checked(found, tmp_path))


@pytest.mark.usefixtures("found")
def test_files_that_are_no_images_at_all_are_named_too(tmp_path):
    frames = [Image.new("RGB", (20, 20), (i, 0, 0)) for i in range(3)]
    moving = tmp_path / "a" / "moving.gif"
    frames[0].save(moving, save_all=True, append_images=frames[1:])
    (tmp_path / "a" / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "a" / "folder.png").mkdir()
    names = ("moving.gif", "dangling.png", "folder.png")
    photos = [Photo(tmp_path / "a" / name) for name in names]
    problems = inspect(photos, tmp_path / "images.db").problems
    words = ("it moves", "No such file or directory", "Is a directory")
    for place, (name, reason) in enumerate(zip(names, words, strict=True)):
        assert problems[place].startswith(f"{tmp_path / 'a' / name}: not a readable image")
        assert reason in problems[place]


@pytest.mark.parametrize(
    ("places", "side"), [((2, 3), "validation"), ((0, 5), "training")], ids=["b", "a"]
)
def test_a_fold_that_loses_all_images_of_a_side_is_told_before_anything_is_extracted(
    found, tmp_path, places, side
):
    spoil(found, *places)
    words = f"six: no {side} class of fold 1 has a readable image"
    with pytest.raises(DataError, match=words):
        development(found, checked(found, tmp_path))


def test_skipped_images_are_on_record_and_left_out_on_both_sides(found, tmp_path):
    spoil(found, 1, 3)
    result = checked(found, tmp_path)
    catalogue = development(found, result)
    assert catalogue.images == ("a/0.png", "a/2.png", "a/5.png")
    assert catalogue.skipped == ("a/3.png",)
    assert catalogue.notes == (
        "1 images cannot be read and are skipped, such as a/3.png.",
        "1 images of the test split cannot be read and are skipped.",
    )
    sealed = sealed_part(found, result, catalogue)
    assert (sealed.images, sealed.skipped) == (("a/4.png",), ("a/1.png",))


def test_a_test_class_that_loses_all_its_images_is_refused_by_name(found, tmp_path):
    spoil(found, 4)
    result = checked(found, tmp_path)
    catalogue = development(found, result)
    with pytest.raises(DataError, match="six: no image of the test class c can be read; mend"):
        sealed_part(found, result, catalogue)


@pytest.mark.parametrize("splits", [SPLITS, (*SPLITS[:4], "", SPLITS[5])], ids=["unseen", "seen"])
def test_with_images_skipped_it_is_the_same_test(found, tmp_path, splits):
    labels = np.array([0, 0, 1, 1, 2, 0])
    listed = replace(found, splits=(*splits, "test_seen"), labels=np.append(labels, 0))
    listed = replace(listed, images=(*NAMES, "a/6.png"), files=(*found.files, tmp_path / "6.png"))
    Image.new("RGB", (30, 30)).save(listed.files[6])
    parts = []
    for content in (listed.files[1].read_bytes(), b"<html>"):
        listed.files[1].write_bytes(content)
        result = checked(listed, tmp_path)
        parts.append(sealed_part(listed, result, development(listed, result)))
    assert parts[0].digest != parts[1].digest
    assert split_of(parts[0]) == split_of(parts[1])


def test_no_label_of_a_test_image_changes_the_development_data(found, tmp_path):
    result = checked(found, tmp_path)
    known = {
        development(replace(found, labels=np.array(labels)), result).digest
        for labels in ([0, 0, 1, 1, 2, 0], [0, 1, 1, 1, 2, 0], [0, 0, 1, 1, 0, 0])
    }
    assert len(known) == 1


# Development here, test there.


def test_development_knows_trainval_and_its_classes_alone(found, tmp_path):
    result = checked(found, tmp_path)
    catalogue = development(found, result)
    assert catalogue.images == ("a/0.png", "a/2.png", "a/3.png", "a/5.png")
    assert [catalogue.classes[label] for label in catalogue.labels] == ["a", "b", "b", "a"]
    np.testing.assert_allclose(catalogue.attributes, [[0.6, 0.8], [0, 1]])
    assert catalogue.sizes.tolist() == [[20, 30], [22, 30], [23, 30], [25, 30]]
    sealed = sealed_part(found, result, catalogue)
    assert sealed.images == ("a/1.png", "a/4.png")
    assert (sealed.labels, sealed.splits) == (("a", "c"), ("test_seen", "test_unseen"))
    assert sealed.unseen == ("c",)
    np.testing.assert_allclose(sealed.attributes, [[1, 0]])
    assert sealed.development == catalogue.digest


def test_the_fence_knows_all_that_is_sealed(found, tmp_path):
    catalogue = development(found, checked(found, tmp_path))
    for images, classes in ((("a/1.png",), ()), (("a/4.png",), ()), ((), ("c",))):
        with pytest.raises(DataError, match="sealed"):
            catalogue.fence.check("six", images, classes)
    catalogue.fence.check("six", catalogue.images, catalogue.classes)


def test_whatever_the_test_labels_say_development_is_the_same(found, tmp_path):
    result = checked(found, tmp_path)
    noise = found.labels.copy()
    noise[[1, 4]] = [1, 2]
    other = replace(found, labels=noise)
    one, two = (development(each, result) for each in (found, other))
    assert one.digest == two.digest
    parts = [sealed_part(each, result, one).digest for each in (found, other)]
    assert parts[0] != parts[1]


def test_copies_of_a_file_are_noted_and_those_on_both_sides_told(found, tmp_path):
    found.files[5].write_bytes(found.files[0].read_bytes())
    (note,) = development(found, checked(found, tmp_path)).notes
    assert note == "1 images are copies of another file, such as a/5.png of a/0.png."
    found.files[1].write_bytes(found.files[0].read_bytes())
    assert development(found, checked(found, tmp_path)).notes == (
        note,
        "1 images of the test split are copies of images of trainval.",
    )


def test_several_objects_of_one_photo_are_no_copies(found, tmp_path):
    found.files[5].write_bytes(found.files[0].read_bytes())
    boxes = np.tile([0, 0, 20, 20], (6, 1))
    boxed = replace(found, boxes=boxes)
    assert development(boxed, checked(boxed, tmp_path)).notes == ()


def test_a_file_touched_with_the_same_content_keeps_its_digest(found, tmp_path):
    before = checked(found, tmp_path)
    os.utime(found.files[0], (time.time() + 5, time.time() + 5))
    assert checked(found, tmp_path).digests == before.digests


def test_boxes_are_remembered_apart(found, tmp_path):
    photo = found.photos()[0]
    both = [replace(photo, box=(0, 0, 20, 18)), Photo(photo.file)]
    sizes = inspect(both, tmp_path / "images.db").sizes
    assert sizes.tolist() == [[18, 20], [20, 30]]
    assert inspect(both, tmp_path / "images.db").sizes.tolist() == sizes.tolist()


def test_a_class_without_attributes_stays_zero(found):
    rows = replace(found, attributes=np.array([[0.0, 0.0], [0, 2], [1, 0]])).unit
    assert rows.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert listing.Listing is Listing

"""The official files: what is read of them, and what is said of files that are wrong."""

import hashlib
import re
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat
from toys import catalogue_of

from drmn.data.readers.split_files import clean_split, digest, folder_class
from drmn.data.readers.xlsa17 import below, described, find_splits, open_official, read
from drmn.data.specs import AWA2, CUB, SUN, spec
from drmn.errors import ConfigError, DataError

# Images of trainval, test_seen, test_unseen, clean train, clean val.
SIZES = {
    "cub": (7057, 1764, 2967, 4702, 2355),
    "sun": (10320, 2580, 1440, 9280, 1040),
    "awa2": (23527, 5882, 7913, 16187, 7340),
}
DIGESTS = {
    "cub": "0aa3e143deb1fbe6 09a266fec3703bb9 0b41c1b3ca6542ea f90a78fe09d0c858 87774e1e8d29e349",
    "sun": "1ac03d28b4a4a7a3 fd181e6505f29990 37efd35c04716168 18ca0e0385a87331 a401635e72450c8a",
    "awa2": "02d6d4d8e81f6767 6a1ae1a80e31ed01 a5086697b526ea2f cea270182d6dd758 db4ad0faba8b5cbc",
}
MINIS = [("cub2010_mini", CUB), ("awa2_mini", AWA2)]
PHOTOS = [*MINIS, ("cub2010_dev", CUB)]


def split_files(root, spec):
    return root / "xlsa17" / "data" / spec.folder


def mat(splits, name="att_splits.mat"):
    return {k: v for k, v in loadmat(splits / name).items() if not k.startswith("__")}


def texts(cells):
    return [str(cell[0]) for cell in cells.ravel()]


def listed(splits, spec, field):
    """The images of a field such as trainval_loc, as paths below the marker folder."""
    files = texts(mat(splits, "res101.mat")["image_files"])
    return {below(files[int(place) - 1], spec.markers) for place in mat(splits)[field].ravel()}


def classes(splits, stem):
    return set((splits / f"{stem}.txt").read_text().split())


@pytest.fixture
def cub(shared, tmp_path):
    """A copy of a small CUB whose split files may be spoilt; the images are those of the set."""
    whole = shared("cub2010_mini")
    shutil.copytree(split_files(whole, CUB), split_files(tmp_path, CUB))
    (tmp_path / "CUB_200_2011").mkdir()
    (tmp_path / "CUB_200_2011" / "images").symlink_to(whole / "CUB_200_2011" / "images")
    return tmp_path


def spoil(root, file="att_splits.mat", **changes):
    """Write fields of a .mat file anew; a change is a function of the old value."""
    path = split_files(root, CUB) / file
    content = mat(path.parent, file)
    savemat(path, content | {name: change(content[name]) for name, change in changes.items()})


def put(value, *place):
    """Return a change that sets the item at `place`."""

    def change(array):
        changed = array.copy()
        changed[place] = value
        return changed

    return change


def refused(root, *words, spec=CUB):
    with pytest.raises(DataError) as refusal:
        read(root, spec)
    for word in words:
        assert word in str(refusal.value)


# The official files at their true size, without pixels.


@pytest.fixture(scope="module")
def published(shared):
    """Return a function from a dataset's name to its official split files, opened once."""
    root = shared("xlsa17_meta") / "data"
    return cache(lambda name: open_official(root / spec(name).folder, spec(name)))


@pytest.mark.long
@pytest.mark.parametrize("name", SIZES)
def test_the_published_splits_are_read_as_published(published, name):
    official = published(name)
    parts = (official.trainval, official.test_seen, official.test_unseen, *clean_split(official, 1))
    assert tuple(map(len, parts)) == SIZES[name]
    assert [digest(part) for part in parts] == DIGESTS[name].split()
    assert sorted(official.folds) == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "train", "val"), [("cub", 100, 50), ("sun", 580, 65), ("awa2", 27, 13)]
)
def test_a_clean_split_shares_no_class_and_is_all_of_trainval(published, name, train, val):
    official = published(name)
    for fold in official.folds:
        parts = clean_split(official, fold)
        sets = [set(official.labels[part]) for part in parts]
        assert not sets[0] & sets[1]
        assert [len(s) for s in sets] == [train, val]
        assert sorted(np.concatenate(parts)) == sorted(official.trainval)


@pytest.mark.parametrize("name", SIZES)
def test_the_attributes_are_the_published_vectors_before_normalising(shared, published, name):
    splits, official = shared("xlsa17_meta") / "data" / spec(name).folder, published(name)
    rows = official.attributes / np.linalg.norm(official.attributes, axis=1, keepdims=True)
    np.testing.assert_allclose(rows, mat(splits)["att"].T, atol=1e-12)


def test_an_official_set_with_two_images_exchanged_is_not_the_proposed_split(shared, tmp_path):
    splits = split_files(tmp_path, CUB)
    shutil.copytree(shared("xlsa17_meta") / "data" / "CUB", splits)
    train, test = mat(splits)["trainval_loc"][0, 0], mat(splits)["test_seen_loc"][0, 0]
    spoil(tmp_path, trainval_loc=put(test, 0, 0), test_seen_loc=put(train, 0, 0))
    message = "trainval is not the proposed split of cub .*published 0aa3e143deb1fbe6.*fetch"
    with pytest.raises(DataError, match=message):
        open_official(splits, CUB)


def test_an_official_set_with_another_validation_class_is_not_the_proposed_split(shared, tmp_path):
    splits = split_files(tmp_path, CUB)
    shutil.copytree(shared("xlsa17_meta") / "data" / "CUB", splits)
    train, val = splits / "trainclasses1.txt", splits / "valclasses1.txt"
    mine = train.read_text().splitlines()[:1] + val.read_text().splitlines()[1:]
    val.write_text("\n".join(mine))
    with pytest.raises(DataError, match="train is not the proposed split of cub"):
        open_official(splits, CUB)


@pytest.mark.parametrize(
    ("path", "marker", "want", "name"),
    [
        (
            "/BS/work/CUB_200_2011/CUB_200_2011/images/001.Albatross/x_1.jpg",
            "images",
            "001.Albatross/x_1.jpg",
            "001.Albatross",
        ),
        (
            "/BS/Animals_with_Attributes2//JPEGImages/grizzly+bear/grizzly+bear_10001.jpg",
            "JPEGImages",
            "grizzly+bear/grizzly+bear_10001.jpg",
            "grizzly+bear",
        ),
        ("JPEGImages//zebra//z.jpg", "JPEGImages", "zebra/z.jpg", "zebra"),
        ("/images/old/images/001.A/x.jpg", "images", "001.A/x.jpg", "001.A"),
        ("001.A/x.jpg", "images", "001.A/x.jpg", "001.A"),
    ],
)
def test_a_path_is_what_follows_the_marker(path, marker, want, name):
    assert below(path, (marker,)) == want
    assert folder_class(want, CUB) == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/BS/SUN/images/a/abbey/sun_1.jpg", "abbey"),
        ("/BS/SUN/images/a/airport/airport/sun_2.jpg", "airport_airport"),
        ("/BS/SUN/images/b/basketball_court/indoor/s.jpg", "basketball_court_indoor"),
    ],
)
def test_a_class_of_sun_is_named_by_all_folders_below_its_letter(path, name):
    assert folder_class(below(path, ("images",)), SUN) == name


# Real photos in the official layout.


@pytest.mark.parametrize(
    ("name", "spec", "images", "classes"), [(*MINIS[0], 448, 28), (*MINIS[1], 936, 16)]
)
def test_development_is_trainval_and_its_classes(shared, name, spec, images, classes):
    catalogue = catalogue_of(read(shared(name), spec))
    assert (len(catalogue.images), len(catalogue.classes)) == (images, classes)
    assert set(catalogue.labels) == set(range(classes))
    assert catalogue.attributes.shape == (classes, spec.attributes)
    assert len(set(catalogue.attribute_names)) == spec.attributes
    assert catalogue.words.shape == (spec.attributes, 300)


@pytest.mark.long
@pytest.mark.parametrize(("name", "spec"), PHOTOS)
def test_the_catalogue_knows_no_image_and_no_class_of_the_test_set(shared, name, spec):
    root = shared(name)
    catalogue, splits = catalogue_of(read(root, spec)), split_files(root, spec)
    assert set(catalogue.images) == listed(splits, spec, "trainval_loc")
    assert not set(catalogue.classes) & classes(splits, "testclasses")
    for field in ("test_seen_loc", "test_unseen_loc"):
        assert not set(catalogue.images) & listed(splits, spec, field)


def test_the_shipped_train_and_val_are_a_trap_and_not_stepped_into(shared):
    root = shared("cub2010_dev")
    splits = split_files(root, CUB)
    train, val, test = (listed(splits, CUB, f) for f in ("train_loc", "val_loc", "test_seen_loc"))
    assert train | val == listed(splits, CUB, "trainval_loc") | test  # as the authors ship it
    # A fifth of each seen class is for testing, so of either part a fifth would leak.
    assert len(train & test) / len(train) == pytest.approx(0.2, abs=0.01)
    assert len(val & test) / len(val) == pytest.approx(0.2, abs=0.01)
    clean = clean_split(open_official(splits, CUB), fold=1)
    paths = open_official(splits, CUB).images
    for part, shipped in zip(clean, (train, val), strict=True):
        assert {paths[i] for i in part} == shipped - test


@pytest.mark.parametrize(("name", "spec"), MINIS)
def test_a_label_is_the_class_of_the_folder_and_its_row_that_class_s_vector(shared, name, spec):
    root = shared(name)
    catalogue, content = catalogue_of(read(root, spec)), mat(split_files(root, spec))
    named = [catalogue.classes[label] for label in catalogue.labels]
    assert named == [Path(path).parts[0] for path in catalogue.images]
    original = content["original_att"].clip(min=0)
    columns = [texts(content["allclasses_names"]).index(c) for c in catalogue.classes]
    want = original[:, columns] / np.linalg.norm(original[:, columns], axis=0)
    np.testing.assert_allclose(catalogue.attributes.T, want)
    np.testing.assert_allclose(np.linalg.norm(catalogue.attributes, axis=1), 1)


@pytest.mark.parametrize(("name", "spec"), MINIS)
def test_every_image_is_there_with_the_digest_of_its_content(shared, name, spec):
    catalogue = catalogue_of(read(shared(name), spec))
    content = [file.read_bytes() for file in catalogue.files]
    assert list(catalogue.digests) == [hashlib.sha256(c).hexdigest()[:16] for c in content]


@pytest.mark.parametrize(
    ("name", "spec", "words"),
    [
        (*MINIS[0], "40 of 200 classes and 800 of 11,788 images"),
        (*MINIS[1], "20 of 50 classes and 1,475 of 37,322 images"),
    ],
)
def test_a_subset_says_that_its_figures_are_not_the_published_ones(shared, name, spec, words):
    note = read(shared(name), spec).notes[0]
    assert words in note
    assert "do not compare" in note


def test_attribute_values_marked_missing_count_as_none_and_it_is_said(shared):
    root = shared("awa2_mini")
    catalogue, content = catalogue_of(read(root, AWA2)), mat(split_files(root, AWA2))
    column = texts(content["allclasses_names"]).index("antelope")
    missing = content["original_att"][:, column] == -1
    assert missing.sum() == 4
    assert (catalogue.attributes[catalogue.classes.index("antelope")][missing] == 0).all()
    assert catalogue.attributes.min() == 0
    assert "4 attribute values marked missing (-1) are taken as 0" in catalogue.notes[1]


@pytest.mark.parametrize("folder", ["", "xlsa17"])
def test_the_data_root_may_hold_xlsa17_or_be_it(cub, folder):
    assert find_splits(cub / folder, CUB).samefile(split_files(cub, CUB))


def test_attributes_without_a_file_of_names_are_numbered(cub):
    names = read(cub, CUB).attribute_names
    assert (names[0], names[311]) == ("attribute 1", "attribute 312")


# Files that are missing, damaged or mixed up.


def test_the_untouched_copy_is_accepted(cub):
    assert len(read(cub, CUB).images) == 800


def test_a_missing_data_root_is_named(tmp_path):
    refused(tmp_path / "dta", f"--data-root {tmp_path / 'dta'}: no such folder")


def test_a_dataset_that_is_not_there_is_answered_with_the_one_that_is(cub):
    refused(cub, "no xlsa17/data/AWA2/att_splits.mat", "it holds cub: use --dataset cub", spec=AWA2)


def test_an_unknown_dataset_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=re.escape("Unknown dataset 'awa'. Did you mean 'awa2'?")):
        spec("awa")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999))
def test_a_mat_file_cut_short_anywhere_is_refused(cub, share):
    path = split_files(cub, CUB) / "att_splits.mat"
    backup = path.with_suffix(".whole")
    if not backup.exists():
        shutil.copy(path, backup)
    content = backup.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(cub, str(path.parent))


def test_half_a_mat_file_is_to_be_fetched_again(cub):
    path = split_files(cub, CUB) / "att_splits.mat"
    path.write_bytes(path.read_bytes()[:40_000])
    refused(cub, f"{path}: not a readable .mat file", "fetch it again")


def test_split_files_of_another_dataset_are_refused(cub, shared):
    other = split_files(shared("awa2_mini"), AWA2) / "att_splits.mat"
    shutil.copy(other, split_files(cub, CUB) / "att_splits.mat")
    refused(cub, "attributes are 85 for 20 classes where cub has 312", "another dataset's?")


def test_split_files_of_a_larger_subset_are_refused(cub, shared):
    other = split_files(shared("cub2010_dev"), CUB) / "att_splits.mat"
    shutil.copy(other, split_files(cub, CUB) / "att_splits.mat")
    refused(cub, "att_splits.mat and res101.mat are not of one set")


def test_image_lists_of_another_dataset_are_refused(cub, shared):
    other = split_files(shared("awa2_mini"), AWA2) / "res101.mat"
    shutil.copy(other, split_files(cub, CUB) / "res101.mat")
    refused(cub, "has the label", "att_splits.mat and res101.mat are not of one set")


def test_a_missing_image_list_is_named(cub):
    (split_files(cub, CUB) / "res101.mat").unlink()
    refused(cub, "res101.mat: no such file")


def test_a_missing_field_is_named_and_those_that_are_there(cub):
    content = mat(split_files(cub, CUB))
    del content["original_att"]
    savemat(split_files(cub, CUB) / "att_splits.mat", content)
    refused(cub, "the field 'original_att' is missing; the file holds", "trainval_loc")


def test_a_copy_without_the_two_misleading_fields_is_read(cub):
    before = catalogue_of(read(cub, CUB)).digest
    content = mat(split_files(cub, CUB))
    savemat(
        split_files(cub, CUB) / "att_splits.mat",
        {name: v for name, v in content.items() if name not in ("train_loc", "val_loc", "att")},
    )
    assert catalogue_of(read(cub, CUB)).digest == before


def test_a_missing_image_is_named_and_counted(cub):
    images = cub / "CUB_200_2011" / "images"
    whole = images.resolve()
    images.unlink()
    images.mkdir()
    for folder in whole.iterdir():
        (images / folder.name).symlink_to(folder)
    first = min(images.iterdir())
    kept = sorted(first.iterdir())[2:]
    first.unlink()
    first.mkdir()
    for file in kept:
        (first / file.name).symlink_to(whole / first.name / file.name)
    refused(cub, f"{first}/", "no such image; 2 of the 800 images", "is the download whole?")


def test_a_root_without_images_says_which_folder_is_sought(cub):
    (cub / "CUB_200_2011" / "images").unlink()
    refused(cub, f"--data-root {cub}: no folder images/ with cub's images")


def test_a_folder_images_of_something_else_is_not_taken_for_the_dataset(cub):
    (cub / "images").mkdir()
    assert len(read(cub, CUB).images) == 800
    (cub / "CUB_200_2011" / "images").unlink()
    refused(cub, f"looked in {cub / 'images'}")


def test_a_half_copy_nearer_the_root_does_not_hide_a_whole_one(cub):
    names = sorted((cub / "CUB_200_2011" / "images").iterdir())
    (cub / "images").mkdir()
    (cub / "images" / names[0].name).symlink_to(names[0])
    found = read(cub, CUB)
    assert {file.parents[1] for file in found.files} == {cub / "CUB_200_2011" / "images"}


def test_half_a_download_without_the_first_class_says_so(cub):
    images = cub / "CUB_200_2011" / "images"
    whole = sorted(images.resolve().iterdir())
    images.unlink()
    images.mkdir()
    for folder in whole[1:]:
        (images / folder.name).symlink_to(folder)
    refused(cub, f"{images / whole[0].name}/", "no such image; 20 of the 800", "download whole?")


@pytest.mark.parametrize("place", ["", "CUB_200_2011", "CUB_200_2011/CUB_200_2011"])
def test_each_of_the_three_layouts_of_cub_is_read(cub, place):
    whole = (cub / "CUB_200_2011" / "images").resolve()
    shutil.rmtree(cub / "CUB_200_2011")
    (cub / place).mkdir(parents=True, exist_ok=True)
    (cub / place / "images").symlink_to(whole)
    assert all(cub / place / "images" in file.parents for file in read(cub, CUB).files)


def test_an_empty_cell_is_named_with_its_file(cub):
    spoil(cub, "res101.mat", image_files=put(np.array([], dtype=str), 3, 0))
    refused(cub, "res101.mat: cell 4 of 'image_files' is empty; fetch the file again")


def test_two_mat_files_exchanged_are_recognised(cub):
    splits = split_files(cub, CUB)
    (splits / "res101.mat").rename(splits / "kept.mat")
    (splits / "att_splits.mat").rename(splits / "res101.mat")
    (splits / "kept.mat").rename(splits / "att_splits.mat")
    refused(cub, "are att_splits.mat and res101.mat exchanged?")


def test_an_official_list_that_is_not_utf_8_is_named(cub):
    file = split_files(cub, CUB) / "valclasses1.txt"
    file.write_bytes(b"\xff" + file.read_bytes())
    refused(cub, f"{file}: not UTF-8 text (byte 0); save it as UTF-8.")


def test_an_image_that_is_named_twice_is_refused(cub):
    files = mat(split_files(cub, CUB), "res101.mat")["image_files"]
    spoil(cub, "res101.mat", image_files=put(files[0, 0], 1, 0))
    refused(cub, "image_files names 001.Black_footed_Albatross/", "twice; fetch it again")


def test_sun_s_attribute_names_are_read_from_their_mat_file(shared, tmp_path):
    splits = tmp_path / "SUN"
    shutil.copytree(shared("xlsa17_meta") / "data" / "SUN", splits)
    (tmp_path / "SUNAttributeDB").mkdir()
    names = [f"name {i}" for i in range(102)]
    cells = np.array(names, dtype=object)[:, None]
    savemat(tmp_path / "SUNAttributeDB" / "attributes.mat", {"attributes": cells})
    assert described(tmp_path, open_official(splits, SUN), SUN).attribute_names == tuple(names)


def test_a_test_class_in_a_validation_list_is_refused(cub):
    file = split_files(cub, CUB) / "valclasses2.txt"
    strange = min(classes(file.parent, "testclasses"))
    file.write_text(f"{file.read_text().rstrip()}\n{strange}\n")
    refused(cub, f"{file}: {strange} has no image in trainval", "must not be a test class")


def test_a_copy_without_validation_lists_is_refused(cub):
    for fold in (1, 2, 3):
        (split_files(cub, CUB) / f"valclasses{fold}.txt").unlink()
    refused(cub, "valclasses1.txt: no such file")


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (41, "labels run from 1 to 41 for 40 classes"),
        (0, "labels run from 0 to 40 for 40 classes"),
    ],
)
def test_a_label_out_of_range_is_refused(cub, label, words):
    spoil(cub, "res101.mat", labels=put(label, 5, 0))
    refused(cub, words)


def test_a_label_that_is_not_its_folder_s_is_refused(cub):
    labels = mat(split_files(cub, CUB), "res101.mat")["labels"].ravel()
    spoil(cub, "res101.mat", labels=put(labels[-1], 0, 0))
    refused(cub, "001.Black_footed_Albatross/", "has the label")


def test_too_few_labels_are_refused(cub):
    spoil(cub, "res101.mat", labels=lambda labels: labels[:-1])
    refused(cub, "799 labels for 800 image_files")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_attribute_that_is_no_number_is_refused(cub, value):
    spoil(cub, original_att=put(value, 3, 7))
    refused(cub, "att_splits.mat: original_att holds NaN or infinity")


@pytest.mark.parametrize("place", [0, 801])
def test_an_index_beyond_the_images_is_refused_and_named(cub, place):
    spoil(cub, trainval_loc=put(place, 0, 0))
    refused(cub, f"trainval_loc points at image {place} of 800")


def test_a_test_image_in_trainval_is_refused(cub):
    test = mat(split_files(cub, CUB))["test_seen_loc"][0, 0]
    spoil(cub, trainval_loc=put(test, 0, 0))
    refused(cub, "trainval, test_seen and test_unseen share images")


def test_a_class_in_training_and_in_the_unseen_test_is_refused(cub):
    content = mat(split_files(cub, CUB))
    train, unseen = content["trainval_loc"][0, 0], content["test_unseen_loc"][0, 0]
    spoil(cub, trainval_loc=put(unseen, 0, 0), test_unseen_loc=put(train, 0, 0))
    refused(cub, "is in trainval and in test_unseen")


def test_attribute_names_that_do_not_count_up_are_refused(cub):
    (cub / "attributes.txt").write_text("1 has_bill::curved\n2 has_bill::hooked\n")
    refused(cub, f"{cub / 'attributes.txt'}: 2 names for 312 attributes")


@pytest.mark.parametrize("shape", [(311, 300), (312,)])
def test_word_vectors_of_another_set_are_refused(cub, shape):
    (cub / "w2v").mkdir()
    np.save(cub / "w2v" / "CUB_attribute.npy", np.zeros(shape, np.float32))
    refused(cub, f"CUB_attribute.npy: shape {shape} where 312 word vectors are needed")


def test_word_vectors_are_never_unpickled(cub):
    (cub / "w2v").mkdir()
    objects = np.array([{"a": 1}] * 312, dtype=object)
    np.save(cub / "w2v" / "CUB_attribute.npy", objects, allow_pickle=True)
    refused(cub, "CUB_attribute.npy: not a readable .npy file of numbers")


@pytest.mark.parametrize("length", [0, 60, 1000])
def test_word_vectors_cut_short_are_refused(cub, length):
    file = cub / "w2v" / "CUB_attribute.npy"
    file.parent.mkdir()
    np.save(file, np.zeros((312, 300), np.float32))
    file.write_bytes(file.read_bytes()[:length])
    refused(cub, f"{file}: not a readable .npy file of numbers")


@pytest.mark.long
@pytest.mark.parametrize("which", [AWA2, CUB, SUN])
def test_a_whole_official_set_is_read_and_called_no_subset(shared, tmp_path, which):
    meta = shared("xlsa17_meta")
    splits = tmp_path / "xlsa17" / "data" / which.folder
    shutil.copytree(meta / "data" / which.folder, splits)
    official = open_official(splits, which)
    photos = tmp_path / which.folder / which.markers[0]
    for folder in {Path(path).parent for path in official.images}:
        (photos / folder).mkdir(parents=True, exist_ok=True)
    for path in official.images:  # no pixels are there at true size; reading needs none
        (photos / path).touch()
    found = read(tmp_path, which)
    sizes = [found.of(name).sum() for name in ("trainval", "test_seen", "test_unseen")]
    assert (*sizes, len(found.seen)) == (*SIZES[which.name][:3], which.seen)
    assert [note for note in found.notes if "marked missing" not in note] == []
    assert set(found.folds) == {1, 2, 3}

"""Feature files of DAZLE, TransZero and MSDN: taken in, checked, and written for their readers."""

import re

import h5py
import hdf5_files
import numpy as np
import pytest
import torch
from hdf5_files import CHANNELS, HEIGHT, WIDTH, root_without_images, tables, write

from drmn.data.feature_config import FeatureConfig
from drmn.data.readers import hdf5, xlsa17
from drmn.data.sealed.open import open_test
from drmn.data.specs import AWA2, CUB, DEMO
from drmn.data.splits import development, export_hdf5
from drmn.data.store import feature_store
from drmn.data.store.layout import RowRange
from drmn.errors import ConfigError, DataError
from drmn.io import file_digest
from drmn.io.progress import silent
from drmn.prepare import features as stores
from drmn.prepare.datasets import open_dataset
from drmn.prepare.hdf5_features import Imported


@pytest.fixture(scope="module")
def root(shared, tmp_path_factory):
    """A data root with the split files of 40 of CUB's classes, and no image."""
    return root_without_images(shared("cub2010_mini"), tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def content(root):
    """What the file of these classes holds."""
    found = tables(root, "CUB")
    return {"feature_map": hdf5_files.maps(found), **found}


@pytest.fixture(scope="module")
def file(content, tmp_path_factory):
    return write(tmp_path_factory.mktemp("files") / "feature_map_ResNet_101_CUB.hdf5", content)


def imported(file, root, results, **settings):
    """Return the store that is made of a file, and its catalogue."""
    catalogue = open_dataset("cub", root, results, hdf5_file=file)
    config = FeatureConfig(hdf5=str(file), **settings)
    place = stores.prepare(catalogue, config, results / "features")
    return feature_store.read(place), catalogue


@pytest.fixture(scope="module")
def store(file, root, tmp_path_factory):
    return imported(file, root, tmp_path_factory.mktemp("results"))[0]


def every_row(store):
    level = store.levels[32]
    return level.rows(torch.arange(level.shape[0]))


def expected_rows(content):
    """The trainval rows [image, region, channel], region by region."""
    chosen = content["feature_map"][np.sort(content["trainval_loc"])]
    regions = [chosen[:, :, y, x] for y in range(HEIGHT) for x in range(WIDTH)]
    return torch.from_numpy(np.stack(regions, axis=1)).bfloat16()


# What is read.


def test_with_the_split_files_all_is_named_as_if_the_photos_were_there(shared, file, root):
    found, photos = hdf5.read(file, root, CUB), xlsa17.read(shared("cub2010_mini"), CUB)
    for name in ("images", "classes", "folds"):
        assert getattr(found, name) == getattr(photos, name)
    assert list(found.splits) == list(photos.splits)
    for name in ("labels", "attributes", "words"):
        np.testing.assert_array_equal(getattr(found, name), getattr(photos, name))


def test_without_them_images_and_classes_are_numbered_and_three_folds_drawn(file, tmp_path):
    found = hdf5.read(file, tmp_path, CUB)
    assert found.images[:2] == ("image 00001", "image 00002")
    assert found.classes[39] == "class 040"
    held = [name for names in found.folds.values() for name in names]
    assert len(found.folds) == 3
    assert len(held) == len(set(held)) == 3 * 6  # of 28 seen classes a fifth
    assert set(held) <= {found.classes[c] for c in found.seen}
    assert f"no split files below --data-root {tmp_path}" in found.notes[0]


def test_attributes_marked_missing_count_as_none_and_it_is_said(shared, tmp_path):
    found = tables(shared("awa2_mini"), "AWA2")
    assert (found["original_att"] == -1).sum() == 4
    file = write(tmp_path / "x.hdf5", {"feature_map": hdf5_files.maps(found), **found})
    listing = hdf5.read(file, tmp_path, AWA2)
    assert listing.attributes.min() == 0
    assert any("4 attribute values marked missing" in note for note in listing.notes)


def test_word_vectors_of_zeros_are_told_and_a_file_without_any_is_read(content, tmp_path):
    words = content["w2v_att"].copy()
    words[2] = 0
    file = write(tmp_path / "x.hdf5", content | {"w2v_att": words})
    assert "1 word vectors are all zeros" in hdf5.read(file, tmp_path, CUB).notes[-1]
    without = {name: values for name, values in content.items() if name != "w2v_att"}
    assert hdf5.read(write(tmp_path / "y.hdf5", without), tmp_path, CUB).words is None


# What becomes of it.


def test_the_store_holds_the_trainval_rows_region_by_region(store, content):
    assert store.levels[32].shape == (448, HEIGHT * WIDTH, CHANNELS)
    assert torch.equal(every_row(store), expected_rows(content))


def test_labels_and_attributes_are_those_of_the_file(store, content):
    chosen = np.sort(content["trainval_loc"])
    own = store.catalogue.attributes[store.catalogue.labels]
    np.testing.assert_allclose(own, content["att"][content["labels"][chosen]], atol=1e-12)


def test_the_test_rows_are_sealed_and_can_be_opened_once(file, root, content, tmp_path):
    catalogue = open_dataset("cub", root, tmp_path, hdf5_file=file)
    part = open_test(
        tmp_path / "sealed",
        dataset="cub",
        development=catalogue.digest,
        study="s",
        purpose="a test",
    )
    assert len(part.images) == len(content["test_seen_loc"]) + len(content["test_unseen_loc"])
    assert not set(part.images) & set(catalogue.images)
    assert not set(part.unseen) & set(catalogue.classes)
    assert set(part.files) == {file}


@pytest.mark.parametrize("chunks", [(7, 5, 1, 1), (800, 24, 3, 2), (1, 24, 3, 2), True])
def test_a_packed_file_gives_the_same_rows(content, root, tmp_path, chunks):
    file = write(tmp_path / "x.hdf5", content, compression="gzip", chunks=chunks)
    assert torch.equal(every_row(imported(file, root, tmp_path)[0]), expected_rows(content))


@pytest.mark.parametrize("kind", [np.float16, np.float64, ">f4"])
def test_other_kinds_of_numbers_are_taken(content, root, tmp_path, kind):
    other = content | {"feature_map": content["feature_map"].astype(np.float16).astype(kind)}
    want = content | {"feature_map": content["feature_map"].astype(np.float16).astype(np.float32)}
    file = write(tmp_path / "x.hdf5", other)
    assert torch.equal(every_row(imported(file, root, tmp_path)[0]), expected_rows(want))


def test_an_interrupted_import_goes_on_with_the_shards_that_are_missing(
    file, root, store, tmp_path
):
    catalogue = open_dataset("cub", root, tmp_path, hdf5_file=file)
    source = Imported(catalogue, file, tmp_path / "images.db", silent)
    spans = [RowRange(3, 300, 310), RowRange(5, 440, 448)]
    for (_, maps), span in zip(source.fill(spans), spans, strict=True):
        assert torch.equal(maps[32], every_row(store)[span.start : span.stop])


@pytest.mark.parametrize(("encoding", "channels"), [("int8", CHANNELS), ("pca", CHANNELS // 4)])
def test_imported_features_can_be_stored_compactly(file, root, tmp_path, encoding, channels):
    compact, _ = imported(file, root, tmp_path, encoding=encoding)
    assert compact.levels[32].shape == (448, HEIGHT * WIDTH, channels)
    assert compact.key.fold == 1
    assert every_row(compact).float().std() > 0.1


def test_a_restart_reads_the_file_no_second_time_and_another_content_is_another_store(
    content, root, tmp_path
):
    file = write(tmp_path / "x.hdf5", content)
    told = []
    first = file_digest.digest(file, tmp_path / "known.db", lambda *far: told.append(far))
    assert told
    told.clear()
    assert file_digest.digest(file, tmp_path / "known.db", lambda *far: told.append(far)) == first
    assert not told
    before = imported(file, root, tmp_path)[0].folder
    write(file, content | {"feature_map": content["feature_map"] + 1})
    assert file_digest.digest(file, tmp_path / "known.db") != first
    assert imported(file, root, tmp_path)[0].folder != before


# What is refused.


def refused(file, root, *words):
    with pytest.raises(DataError) as problem:
        hdf5.read(file, root, CUB)
    text = str(problem.value)
    assert str(file) in text
    assert "\n" not in text
    for word in words:
        assert word in text


def moved(indices, by=1):
    return lambda content: {name: content[name] + by for name in indices}


LOCS = ("trainval_loc", "test_seen_loc", "test_unseen_loc")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: {"feature_map": c["feature_map"][..., 0]}, "[image, channel, height, width]"),
        (lambda c: {"feature_map": np.zeros(c["feature_map"].shape, "S1")}, "feature_map is |S1"),
        (lambda c: {"labels": c["labels"][1:]}, "799 labels for 800 images of feature_map"),
        (lambda c: {"labels": c["labels"] + 0.5}, "labels holds something that is no whole number"),
        (
            moved(["labels"]),
            "labels run from 1 to 40 for 40 rows of att; they look 1-based: subtract 1.",
        ),
        (moved(["labels"], -1), "labels run from -1 to 38 for 40 rows of att."),
        (
            moved(LOCS),
            "_loc run from 1 to 800 for 800 images; they look 1-based: subtract 1.",
        ),
        (moved(["test_unseen_loc"], 10**6), "test_unseen_loc run from 1000"),
        (lambda c: {"test_seen_loc": c["test_seen_loc"][:0]}, "test_seen_loc are none"),
        (
            lambda c: {"test_seen_loc": c["trainval_loc"][:9]},
            "trainval, test_seen and test_unseen share images",
        ),
        (
            lambda c: {
                "test_unseen_loc": c["test_seen_loc"],
                "test_seen_loc": c["test_unseen_loc"],
            },
            "is in trainval and in test_unseen",
        ),
        (lambda c: {"att": c["att"][1:]}, "att is (39, 312) and original_att (40, 312)"),
        (lambda c: {n: c[n].T for n in ("att", "original_att")}, "a row of 312 for each class"),
        (lambda c: {n: c[n][:, :85] for n in ("att", "original_att")}, "is this another dataset's"),
        (lambda c: {"original_att": c["original_att"] * np.nan}, "original_att holds NaN"),
        (lambda c: {"original_att": c["original_att"] * 0}, "row 0 of original_att has no"),
        (lambda c: {"w2v_att": c["w2v_att"][1:]}, "where 312 word vectors are needed"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused_by_name(content, tmp_path, change, words):
    refused(write(tmp_path / "x.hdf5", content | change(content)), tmp_path, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: {"labels": c["labels"][::-1]}, "labels (800,) is not that of the split files"),
        (lambda c: {"trainval_loc": c["trainval_loc"][1:]}, "trainval_loc (447,) is not that of"),
        (lambda c: {"original_att": c["original_att"] + 1}, "original_att (40, 312) is not that"),
    ],
)
def test_a_file_that_contradicts_the_split_files_is_refused_by_name(
    content, root, tmp_path, change, words
):
    parts = {**content, **change(content)}
    if "labels" in change(content):  # labels turned round keep every class in its own split
        for name in LOCS:
            parts[name] = 799 - content[name]
    refused(write(tmp_path / "x.hdf5", parts), root, words, "in another order?")


def test_a_missing_dataset_is_named_and_those_that_are_there(content, tmp_path):
    without = {name: values for name, values in content.items() if name != "test_seen_loc"}
    file = write(tmp_path / "x.hdf5", without)
    refused(file, tmp_path, "the dataset 'test_seen_loc' is missing; it holds att, feature_map,")


def test_what_is_no_whole_hdf5_file_is_refused(file, tmp_path):
    refused(tmp_path / "nothing.hdf5", tmp_path, "no such file")
    other = tmp_path / "other.hdf5"
    other.write_bytes(b"PK" * 1000)
    refused(other, tmp_path, "not a whole HDF5 file (file signature not found)")
    other.write_bytes(file.read_bytes()[:-5000])
    refused(other, tmp_path, "not a whole HDF5 file (truncated file")


def test_a_set_of_the_published_size_must_have_the_published_splits(shared, tmp_path):
    meta = shared("xlsa17_meta")
    splits = next(folder for folder in meta.rglob("CUB") if (folder / "att_splits.mat").is_file())
    named = xlsa17.open_official(splits, CUB)
    parts = {f"{p}_loc": getattr(named, p) for p in ("trainval", "test_seen", "test_unseen")}
    content = {
        "feature_map": np.zeros((CUB.images, 1, 1, 1), np.float32),
        "labels": named.labels,
        **parts,
        "att": named.attributes,
        "original_att": named.attributes,
    }
    found = hdf5.read(write(tmp_path / "x.hdf5", content), tmp_path / "nowhere", CUB)
    assert list(found.splits).count("trainval") == 7057
    content["trainval_loc"] = content["trainval_loc"][1:]
    refused(write(tmp_path / "x.hdf5", content), tmp_path, "is not the proposed split of cub")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_feature_that_is_no_number_is_named_by_its_row(content, root, tmp_path, bad):
    row = int(np.sort(content["trainval_loc"])[100])
    maps = content["feature_map"].copy()
    maps[row, 5, 1, 1] = bad
    file = write(tmp_path / "x.hdf5", content | {"feature_map": maps})
    with pytest.raises(DataError, match=re.escape(f"{file}: feature_map[{row}] holds NaN")):
        imported(file, root, tmp_path)


def test_damaged_features_are_refused(content, root, tmp_path):
    file = write(tmp_path / "x.hdf5", content, compression="gzip", chunks=(100, 24, 3, 2))
    with h5py.File(file) as written:
        place = written["feature_map"].id.get_chunk_info(3).byte_offset
    with file.open("r+b") as damaged:
        damaged.seek(place + 10)
        damaged.write(b"\xff" * 100)
    with pytest.raises(DataError, match=re.escape("feature_map[300:400] cannot be read")):
        imported(file, root, tmp_path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"views": 2}, "views must be 0 with --hdf5; got 2."),
        ({"maps": "full"}, "maps must be pooled with --hdf5; got 'full'."),
    ],
)
def test_what_needs_pixels_is_refused(settings, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        FeatureConfig(hdf5="x.hdf5", **settings)


def test_a_dataset_without_such_files_is_refused(file, tmp_path):
    with pytest.raises(ConfigError, match="dataset must be one of apy, awa2, cub, sun"):
        hdf5.read(file, tmp_path, DEMO)


# What is written.


@pytest.fixture(scope="module")
def square(content, root, tmp_path_factory):
    """A store with square maps, and the file that fold 2 of it was exported into."""
    folder = tmp_path_factory.mktemp("square")
    maps = hdf5_files.maps(content, (6, 2, 2))
    made = imported(write(folder / "in.hdf5", content | {"feature_map": maps}), root, folder)[0]
    notes = export_hdf5.write_hdf5(folder / "out.hdf5", made.folder, 2)
    return made, folder / "out.hdf5", notes


def test_a_sibling_s_reader_finds_our_division_in_its_own_layout(square):
    store, file, notes = square
    hf = h5py.File(file, "r")
    maps = np.array(hf.get("feature_map"))
    labels, att = np.array(hf.get("labels")), np.array(hf.get("att"))
    train_loc, seen_loc, unseen_loc = (np.array(hf.get(name)) for name in LOCS)
    normalized = torch.from_numpy(np.array(hf.get("original_att"))).float() / 100
    words = torch.from_numpy(np.array(hf.get("w2v_att"))).float()
    train_maps = torch.from_numpy(maps[train_loc]).float()
    train_labels = torch.from_numpy(labels[train_loc]).long()
    seen = np.unique(train_labels.numpy())
    unseen = np.unique(labels[unseen_loc])

    data = development.open_store(store.folder, fold=2)
    assert train_maps.shape == (len(data.train), 6, 2, 2)
    assert set(np.unique(labels[seen_loc])) <= set(seen)
    assert not set(seen) & set(unseen)
    names = np.array(store.catalogue.classes)
    assert set(names[unseen]) == set(store.catalogue.folds[2])
    for split, loc in ((data.train, train_loc), (data.val_seen, seen_loc)):
        assert list(names[labels[loc]]) == [data.classes.names[c] for c in split.labels]
    np.testing.assert_allclose(np.linalg.norm(att, axis=1), 1)
    assert normalized.min() >= 0
    assert normalized.max() == 1
    assert words.shape == (312, 300)
    assert f"{len(data.train)} training images are its trainval" in notes[0]


def test_what_was_exported_is_imported_as_it_was_bit_by_bit(square, tmp_path):
    store, file, _ = square
    data = development.open_store(store.folder, fold=2)
    again, catalogue = imported(file, tmp_path / "no root", tmp_path)
    rows = data.train.rows
    assert torch.equal(every_row(again), store.levels[32].rows(rows))
    shown = store.catalogue.attributes[store.catalogue.labels[rows]]
    np.testing.assert_allclose(catalogue.attributes[catalogue.labels], shown, atol=1e-15)
    np.testing.assert_array_equal(catalogue.words, store.catalogue.words)


def test_the_coarsest_level_alone_is_exported(toy_store, tmp_path):
    notes = export_hdf5.write_hdf5(tmp_path / "x.hdf5", toy_store, 1)
    assert notes[1] == "of the levels 32 alone is in it, without 16."
    with h5py.File(tmp_path / "x.hdf5") as content:
        maps = torch.from_numpy(content["feature_map"][()])
    assert maps.shape == (90, 12, 2, 2)
    rows = feature_store.read(toy_store).levels[32].rows(torch.arange(90)).float()
    assert torch.equal(maps.flatten(2).transpose(1, 2), rows)


def test_missing_word_vectors_are_told_and_left_out(content, tmp_path):
    parts = {name: values for name, values in content.items() if name != "w2v_att"}
    parts["feature_map"] = hdf5_files.maps(content, (6, 2, 2))
    file = write(tmp_path / "in.hdf5", parts)
    store, _ = imported(file, tmp_path / "no root", tmp_path)
    notes = export_hdf5.write_hdf5(tmp_path / "out.hdf5", store.folder, 1)
    assert notes[-1] == "w2v_att is not in it: there are no word vectors."
    with h5py.File(tmp_path / "out.hdf5") as written:
        assert sorted(written) == sorted(parts)


def test_a_file_that_exists_is_not_written_over(square):
    store, file, _ = square
    before = file.read_bytes()
    with pytest.raises(DataError, match=re.escape(f"--export-hdf5 {file}: exists")):
        export_hdf5.write_hdf5(file, store.folder, 1)
    assert file.read_bytes() == before


def test_an_export_that_fails_leaves_nothing(square, store, tmp_path):
    with pytest.raises(DataError, match="6 regions make no square map"):
        export_hdf5.write_hdf5(tmp_path / "x.hdf5", store.folder, 1)
    with pytest.raises(DataError, match="no such folder to write into"):
        export_hdf5.write_hdf5(tmp_path / "no" / "x.hdf5", square[0].folder, 1)
    assert not list(tmp_path.iterdir())


def test_objects_of_one_photo_are_told_apart():
    assert hdf5._distinct(("a", "b", "a")) == ("a#1", "b#2", "a#3")

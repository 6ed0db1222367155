"""A user's own folder of photos."""

import json
import re
import shlex

import numpy as np
import pytest
from in_process import run_job
from paths import ROOT
from PIL import Image
from toys import catalogue_of

from drmn.data.readers.class_folders import read
from drmn.data.splits import development
from drmn.errors import DataError

PAGE = (ROOT / "docs" / "own-data.md").read_text()
PER_CLASS = 10


def example(name):
    """Return a file as the documentation shows it."""
    (text,) = re.findall(rf"```csv {re.escape(name)}\n(.*?)```", PAGE, re.DOTALL)
    return text


CLASSES = [line.split(",")[0] for line in example("attributes.csv").splitlines()[1:]]


@pytest.fixture
def fish(tmp_path):
    """Return the documentation's example, with pictures of chance."""
    chance = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(PER_CLASS):
            pixels = chance.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    for name in ("attributes.csv", "splits.csv"):
        (tmp_path / name).write_text(example(name))
    return tmp_path


def test_the_documented_example_is_read(fish):
    catalogue = catalogue_of(read(fish, "own"))
    assert catalogue.classes == ("clownfish", "shark", "zebrafish", "goldfish", "barracuda")
    assert catalogue.folds == {1: ("zebrafish", "barracuda")}
    assert catalogue.attribute_names[-1] == "sharp teeth"
    assert len(catalogue.images) == 5 * 8  # a fifth of each class's ten is for testing
    np.testing.assert_allclose(catalogue.attributes[0], np.array([1, 1, 0, 0, 0]) / np.sqrt(2))


def test_word_vectors_of_the_attributes_are_read(fish):
    vectors = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    np.save(fish / "words.npy", vectors)
    np.testing.assert_array_equal(catalogue_of(read(fish, "own")).words, vectors)


@pytest.mark.slow  # minutes
def test_the_documented_command_searches_the_documented_example(fish):
    """As on the page, with word vectors and with flags that make it a matter of seconds."""
    np.save(fish / "words.npy", np.eye(5, dtype=np.float32))
    (line,) = re.findall(r"^    python (jobs/tune\.py .*--dataset own.*)$", PAGE, re.MULTILINE)
    job, *arguments = shlex.split(line)
    place = arguments.index("--data-root") + 1
    assert arguments[place] == "fish"
    arguments[place] = str(fish)
    small = (
        *("--budget.trials", "1", "--backbone", "resnet10t", "--weights", "random"),
        *("--image-size", "64", "--levels", "16+32", "--model.prototypes", "words"),
        *("--no-figures", "--budget.at-once", "1"),
    )
    assert job == "jobs/tune.py"
    done = run_job("tune", fish, *arguments, *small, "--json", "out.json", ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    outcome = json.loads((fish / "out.json").read_text())
    assert (outcome["study"], outcome["best"]["trial"]) == ("fish", 0)
    assert outcome["settings"]["model.prototypes"] == "words"


def test_neither_the_test_class_nor_a_fifth_of_the_images_can_be_seen(fish):
    before = catalogue_of(read(fish, "own"))
    assert not any(path.startswith("sardine") for path in before.images)
    hidden = {f"{c}/{i}.png" for c in before.classes for i in range(PER_CLASS)} - set(before.images)
    assert len(hidden) == 5 * 2
    for path in [*hidden, *(f"sardine/{i}.png" for i in range(PER_CLASS))]:
        (fish / "images" / path).write_bytes(b"noise")
    assert catalogue_of(read(fish, "own")).digest == before.digest


def test_without_splits_three_folds_are_drawn_and_another_class_moves_none(fish):
    (fish / "splits.csv").unlink()
    catalogue = catalogue_of(read(fish, "own"))
    assert len(catalogue.classes) == 5
    assert sorted(catalogue.folds) == [1, 2, 3]
    held = [name for names in catalogue.folds.values() for name in names]
    assert len(held) == len(set(held)) == 3
    again = catalogue_of(read(fish, "own"))
    assert again.folds == catalogue.folds


def test_it_divides_as_any_dataset_does(fish):
    catalogue = catalogue_of(read(fish, "own"))
    divided = development.divide(catalogue, {}, digest="")
    assert divided.classes.names == ("clownfish", "shark", "goldfish", "zebrafish", "barracuda")
    assert (len(divided.train), len(divided.val_seen), len(divided.val_unseen)) == (18, 6, 16)


def spoil(name, old, new):
    def change(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: (f / "attributes.csv").unlink(), "attributes.csv: no such file"),
        (spoil("attributes.csv", "shark,0,0", "shark,0,x"), "class shark: 'x' is no number"),
        (spoil("attributes.csv", "shark,0,0", "shark,0,nan"), "class shark: 'nan' is no number"),
        (spoil("attributes.csv", "shark,0,0", "shark,0,-1"), "class shark: '-1' is no number"),
        (spoil("attributes.csv", "shark,0,0", "shark,0"), "row of shark has 5 cells, the header 6"),
        (spoil("attributes.csv", "goldfish,0,1", "goldfish,0,0"), "goldfish has no attribute"),
        (spoil("attributes.csv", "sardine", "shark"), "class shark has two rows"),
        (lambda f: (f / "attributes.csv").write_bytes(b"\xff\xfe\x00"), "not UTF-8 text"),
        (spoil("attributes.csv", "shark,0", "../shark,0"), "'../shark' is no name of a folder"),
        (spoil("attributes.csv", "shark,0", " ,0"), "class ' ' is no name of a folder"),
        (
            lambda f: (f / "attributes.csv").write_text("class;a;b\nshark;0;1\n"),
            "one column alone; separate the columns by commas",
        ),
        (spoil("splits.csv", "shark,train", "whale,train"), "class whale is not in attributes.csv"),
        (spoil("splits.csv", "shark,train", "shark,dev"), "'dev' is none of train, val, test"),
        (spoil("splits.csv", "shark,train\n", ""), "class shark is missing"),
        (spoil("splits.csv", ",val", ",test"), "at least one train and one val class"),
        (lambda f: (f / "images" / "eel").mkdir(), "attributes.csv has no class 'eel'"),
        (lambda f: (f / "images").rename(f / "photos"), "images: no such folder"),
        (lambda f: np.save(f / "words.npy", np.zeros((4, 3))), "where 5 word vectors are needed"),
    ],
)
def test_what_is_wrong_is_named(fish, change, words):
    change(fish)
    with pytest.raises(DataError, match=re.escape(words)):
        read(fish, "own")


def test_a_class_without_photos_is_noted_and_left_out(fish):
    for file in (fish / "images" / "goldfish").iterdir():
        file.unlink()
    catalogue = catalogue_of(read(fish, "own"))
    assert "goldfish" not in catalogue.classes
    assert catalogue.notes == ("1 classes of attributes.csv have no image, such as goldfish.",)

"""Pictures of where a network looks."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from drmn.config import RunConfig
from drmn.data.images.decode import Preprocess, load
from drmn.data.splits.development import Classes
from drmn.data.store import feature_store
from drmn.errors import ConfigError, DataError
from drmn.evaluation.ensemble import Rule
from drmn.fields import with_overrides
from drmn.model.network import DRMN, Scores
from drmn.training.loop import build_head
from drmn.visualization import labels
from drmn.visualization.attention_maps import AttentionFigure
from drmn.visualization.evidence import evidence, has, strongest_attributes
from drmn.visualization.sheet import overlay

PREPROCESS = Preprocess(32, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), "bicubic")
RUN = with_overrides(RunConfig(), {"model.sit": "none", "model.width": 12})


class Said(DRMN):
    """A network that says what it is told to."""

    def __init__(self, scores, attention):
        nn.Module.__init__(self)
        self.scores, self.looks = nn.Parameter(scores), attention

    def attention(self, _):
        return self.looks

    def forward(self, _):
        return Scores(self.scores, None, None)


@pytest.fixture(scope="module")
def photos(toy_store, tmp_path_factory):
    """Return where photos of the toy data lie, by name; noise, wider than high."""
    folder, chance = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    files = {}
    for name in feature_store.read(toy_store).catalogue.images:
        files[name] = folder / f"{len(files)}.png"
        Image.fromarray(chance.integers(256, size=(40, 60, 3), dtype=np.uint8)).save(files[name])
    return files


@pytest.fixture
def pictures(toy, toy_store, photos):
    """Return a function that makes pictures of the toy data."""

    def make(files=photos, **more):
        return AttentionFigure(
            toy, feature_store.read(toy_store).catalogue, PREPROCESS, files, **more
        )

    return make


TWO = Classes(
    names=("seen", "unseen"),
    attributes=torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]),
    seen=torch.tensor([True, False]),
)
SAID = Said(torch.tensor([[1.0, 2.0, 2.0]]), torch.full((1, 3, 4), 0.25))  # e has the length 3


def test_the_attributes_drawn_are_those_that_add_most_to_the_answer():
    found = evidence(SAID, {}, TWO, scale=1.0)
    # cosines: (1 · 0.6 + 2 · 0.8) / 3 = 2.2 / 3 of "seen", 2 / 3 of "unseen"
    assert found.answers.tolist() == [0]
    torch.testing.assert_close(found.scores, torch.tensor([[1.0, 2.0, 2.0]]) / 3)
    torch.testing.assert_close(found.shares, torch.tensor([[0.6, 1.6, 0.0]]) / 2.2)
    assert strongest_attributes(found.shares, 2).tolist() == [
        [1, 0]
    ]  # the class has nothing of the third
    assert strongest_attributes(found.shares, 9).tolist() == [[1, 0, 2]]


def test_the_answer_is_the_calibrated_one_and_its_own_attributes_count():
    # softmax of 2.2 / 3 and 2 / 3: 0.517 and 0.483, 0.033 apart
    assert evidence(SAID, {}, TWO, scale=1.0, rule=Rule(gamma=0.03)).answers.tolist() == [0]
    found = evidence(SAID, {}, TWO, scale=1.0, rule=Rule(gamma=0.04))
    assert found.answers.tolist() == [1]
    assert strongest_attributes(found.shares, 1).tolist() == [[2]]


def test_a_class_has_what_is_half_as_strong_as_its_strongest_attribute():
    assert has(torch.tensor([[0.8, 0.4, 0.39], [0.0, 0.1, 0.0]])).tolist() == [
        [True, True, False],
        [False, True, False],
    ]


def test_heat_is_where_the_network_looks_and_nowhere_else():
    attention = torch.zeros(5, 5)
    attention[0, 4] = 1.0
    photo = torch.full((3, 100, 100), 90, dtype=torch.uint8)
    shown = overlay(photo, attention).astype(int)
    red = shown[..., 0] - shown[..., 2]
    y, x = np.unravel_index(red.argmax(), red.shape)
    assert y < 20
    assert x >= 80
    assert (red[:20, 80:] > 0).all()
    assert (red[40:] == 0).all()  # bilinear: half a region beyond its own, then grey
    assert (red[:, :60] == 0).all()


def test_looking_everywhere_alike_heats_everything_alike():
    photo = torch.full((3, 20, 20), 90, dtype=torch.uint8)
    assert len(np.unique(overlay(photo, torch.full((2, 2), 0.25)).reshape(-1, 3), axis=0)) == 1


def test_the_file_is_a_png_of_the_size_of_its_rows_and_columns(toy, pictures, tmp_path):
    model, path = build_head(RUN, toy.classes, toy.channels), tmp_path / "new" / "epoch-003.png"
    assert pictures(count=3, most=5).draw(model, path, scale=2.0) == path
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        # margins of 24, 200 + 14 a column; a head of 106, 60 + 200 + 14 a row (the last has no 14)
        assert picture.size == (2 * 24 + 6 * 214, 106 + 3 * 274 - 14 + 24)
    assert list(path.parent.iterdir()) == [path]


def test_a_sheet_of_one_attribute_has_room_for_its_title(toy, pictures, tmp_path):
    model = build_head(RUN, toy.classes, toy.channels)
    path = pictures(count=1, most=1).draw(model, tmp_path / "a.png", scale=2.0)
    with Image.open(path) as picture:
        assert picture.width == 600


def test_the_same_picture_is_the_same_bytes(toy, pictures, tmp_path):
    model = build_head(RUN, toy.classes, toy.channels)
    paths = [pictures(count=1).draw(model, tmp_path / name, scale=2.0) for name in ("a", "b")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_images_are_the_same_each_time_of_unseen_classes_no_two_of_one(toy, pictures):
    first, again = pictures(count=3), pictures(count=3)
    assert first.rows == again.rows
    assert set(first.rows) <= set(toy.val_unseen.rows.tolist())
    assert len(set(first.split.labels.tolist())) == 3
    assert len(pictures(count=100).rows) == 3  # there are no more such classes
    assert pictures(count=2).rows == first.rows[:2]


def test_what_is_named_is_drawn_in_that_order(toy, pictures):
    asked = ("class0/3.jpg", "class8/85.jpg")  # of a training and a validation class
    made = pictures(images=asked, attributes=("a4", "a1"))
    model = build_head(RUN, toy.classes, toy.channels)
    batch = made.split.batch(torch.arange(2))
    strips = made.strips(evidence(model, batch.inputs, toy.classes, scale=2.0))
    assert [strip.label for strip in strips] == ["class0", "class8"]
    for strip in strips:
        assert [panel.attribute for panel in strip.panels] == ["a4", "a1"]
        assert [panel.attention.shape for panel in strip.panels] == [(2, 2)] * 2
    truth = has(toy.classes.attributes)[made.split.labels][:, [4, 1]].tolist()
    assert [[panel.present for panel in strip.panels] for strip in strips] == truth


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"attributes": ("a44",)}, "Unknown attribute 'a44'. Did you mean 'a4'?"),
        ({"images": ("class0/3.jpeg",)}, "Unknown image 'class0/3.jpeg'. Did you mean 'class0/3.j"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(pictures, asked, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        pictures(**asked)


def test_a_photo_that_is_gone_or_of_unknown_place_is_named(pictures, photos, tmp_path):
    with pytest.raises(DataError, match="it is not known where the image class6/6"):
        pictures(files={}, images=("class6/60.jpg",))
    with pytest.raises(DataError, match=r"gone\.png: not a readable image"):
        pictures(files=photos | {"class6/60.jpg": tmp_path / "gone.png"}, images=("class6/60.jpg",))


def test_without_dual_attention_there_is_no_picture(toy, pictures, tmp_path):
    model = build_head(with_overrides(RUN, {"model.dab": False}), toy.classes, toy.channels)
    assert pictures().draw(model, tmp_path / "none.png", scale=2.0) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("training", [True, False])
def test_drawing_changes_nothing_of_a_training(toy, pictures, tmp_path, training):
    model = build_head(RUN, toy.classes, toy.channels).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    chance = torch.get_rng_state()
    pictures().draw(model, tmp_path / "a.png", scale=2.0)
    assert model.training == training
    assert torch.equal(torch.get_rng_state(), chance)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_photo_is_the_crop_that_the_backbone_was_shown(pictures, photos):
    made = pictures(images=("class0/3.jpg",))
    transform = PREPROCESS.transform()
    shown = transform(load(photos["class0/3.jpg"]))
    torch.testing.assert_close(transform(made.pixels[0]), shown, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("has_bill_shape::dagger", "bill shape: dagger"),
        ("has_bill_shape::curved_(up_or_down)", "bill shape: curved (up or down)"),
        ("body_colour::blue", "body colour: blue"),
        ("black", "black"),
    ],
)
def test_attributes_read_as_words(name, read):
    assert labels.of_attribute(name) == read


def test_classes_read_as_words():
    assert labels.of_class("001.Black_footed_Albatross") == "Black footed Albatross"
    assert labels.of_class("grizzly+bear") == "grizzly bear"


@pytest.mark.long
def test_nothing_heavy_is_imported_before_something_is_drawn():
    code = (
        "import sys, drmn.visualization.attention_maps\n"
        "print([m for m in ('matplotlib', 'mlflow', 'ray') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"

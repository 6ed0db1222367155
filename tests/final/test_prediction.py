"""Predictions of a packed network: what is for and against a class, and classes by a table."""

import io
import json

import pytest
import torch
from in_process import run_job
from PIL import Image

from drmn.config import ModelConfig, RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.errors import ConfigError
from drmn.evaluation.ensemble import Rule
from drmn.final.prediction import new_classes, predict_photos
from drmn.model.backbone import Backbone
from drmn.model.network import DRMN
from drmn.tracking.model_package import Package, load, save

FEATURES = FeatureConfig(weights="random", levels="32", image_size=64)


@pytest.fixture(scope="module")
def folder(toy, tmp_path_factory):
    """A packed, untrained network."""
    torch.manual_seed(0)
    backbone = Backbone(FEATURES)
    run = RunConfig(model=ModelConfig(levels="32", width=8, sit="none"))
    network = DRMN(run.model, backbone.channels, attributes=6, seen=6)
    place = tmp_path_factory.mktemp("model") / "model"
    save(place, Package(backbone, network, run, toy.classes, Rule("logits", 0.3, 0.2)), FEATURES)
    return place


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    place, chance = tmp_path_factory.mktemp("photos"), torch.Generator().manual_seed(0)
    for number in range(3):
        pixels = torch.randint(0, 255, (80, 70, 3), generator=chance, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(place / f"{number}.png")
    return place


def test_a_prediction_is_the_answer_of_the_packed_network(folder, photos):
    package, files = load(folder), sorted(photos.glob("*.png"))
    answer = package.answer(package.maps([file.read_bytes() for file in files]))
    found = list(predict_photos(package, files, package.classes, top=9))
    for place, each in enumerate(found):
        assert each.top[0].name == package.classes.names[int(answer.scores[place].argmax())]
        assert [c.score for c in each.top] == sorted((c.score for c in each.top), reverse=True)
        assert sorted(c.raw_rank for c in each.top) == list(range(1, 10))


def test_differences_sum_to_that_of_the_cosines(folder, photos):
    package, files = load(folder), sorted(photos.glob("*.png"))
    answer = package.answer(package.maps([file.read_bytes() for file in files]))
    names = package.classes.names
    for place, each in enumerate(predict_photos(package, files, package.classes)):
        rows = package.classes.attributes[[names.index(c.name) for c in each.top[:2]]]
        first, second = rows @ answer.attributes[place]
        total = sum(value for _, value in each.differences)
        assert total == pytest.approx(float(first - second), abs=1e-6)
        assert all(value >= 0 or name for name, value in each.supporting)
        assert all(value < 0 for _, value in each.opposing)


def test_a_new_class_of_a_table_can_be_predicted(folder, photos, tmp_path):
    package = load(folder)
    table = tmp_path / "new.csv"
    table.write_text("class,a0,a3\nokapi,1,2\n")
    classes = new_classes(package.classes, table)
    assert classes.names[-1] == "okapi"
    assert not classes.seen[-1]
    assert classes.attributes[-1].tolist() == pytest.approx([0.4472136, 0, 0, 0.8944272, 0, 0])
    (first, *_) = predict_photos(package, sorted(photos.glob("*.png")), classes, top=10)
    assert "okapi" in {each.name for each in first.top}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class,a0\n", "a head and a row for each new class"),
        ("class,a0\nokapi,much\n", "line 2: could not convert"),
        ("class,a0\nokapi,1,2\n", "line 2 has 2 values, the head 1"),
        ("class,stripes\nokapi,1\n", "there is no attribute 'stripes'"),
        ("class,a0\nclass0,1\n", "class 'class0' is there already"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(folder, tmp_path, text, message):
    table = tmp_path / "new.csv"
    table.write_text(text)
    with pytest.raises(ConfigError, match=message) as refused:
        new_classes(load(folder).classes, table)
    assert str(table) in str(refused.value)


def test_the_job_shows_each_photo_and_writes_tables(folder, photos, tmp_path):
    done = run_job("predict", tmp_path, "--model", folder, photos / "0.png", "--json", "out.json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads((tmp_path / "out.json").read_text())
    assert f"0.png: {found['top'][0]['name']}" in done.stdout
    assert f"why {found['top'][0]['name']} and not {found['top'][1]['name']}" in done.stdout
    done = run_job("predict", tmp_path, "--model", folder, photos, "--out", tmp_path / "all.csv")
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 4
    assert "3 photos" in done.stdout


def broken(place):
    file = place / "broken.png"
    file.write_bytes(b"no photo")
    return file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda place, model: ("x.png",), "--model is missing"),
        (lambda place, model: ("--model", place, "x.png"), "x.png: no such photo or folder"),
        (lambda place, model: ("--model", place, broken(place)), "no model of ours"),
        (lambda place, model: ("--model", model, broken(place)), "broken.png: not a photo"),
        (lambda place, model: ("--model", model, place, "--out", "x.txt"), "a .csv or .parquet"),
    ],
)
def test_a_mistake_is_one_sentence(folder, tmp_path, arguments, message):
    done = run_job("predict", tmp_path, *arguments(tmp_path, folder))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_photo_of_bytes_alone_is_what_a_file_is(folder, photos):
    package = load(folder)
    content = io.BytesIO()
    Image.open(photos / "1.png").save(content, "PNG")
    one = package.maps([content.getvalue()])
    two = package.maps([(photos / "1.png").read_bytes()])
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.long
def test_the_evidence_of_each_photo_is_a_picture(folder, photos, tmp_path):
    more = ("--evidence", tmp_path / "why")
    done = run_job("predict", tmp_path, "--model", folder, photos, *more)
    assert done.returncode == 0, done.stderr
    drawn = sorted((tmp_path / "why").iterdir())
    assert [path.name for path in drawn] == ["0001-0.png", "0002-1.png", "0003-2.png"]
    assert all(f"evidence: {path}" in done.stdout for path in drawn)
    with Image.open(drawn[0]) as picture:
        assert picture.height > 3 * 200  # for, against, and why not the second


def test_evidence_where_it_cannot_be_is_refused(folder, photos, tmp_path):
    (tmp_path / "file").write_text("")
    done = run_job("predict", tmp_path, "--model", folder, photos, "--evidence", tmp_path / "file")
    assert done.returncode == 2
    assert f"--evidence {tmp_path / 'file'}: File exists; give a folder." in done.stderr
    done = run_job("predict", tmp_path, "--model", "m.onnx", photos, "--evidence", tmp_path / "why")
    assert done.returncode == 2
    assert "--evidence needs a packed model: m.onnx does not say where it looks." in done.stderr

"""Exported files: they answer as the package does, on photos and for classes of a table."""

import json
from dataclasses import replace
from typing import get_args

import onnx
import pytest
import torch
from in_process import run_job
from PIL import Image

from drmn.config import Formula, ModelConfig, RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.evaluation.ensemble import Rule
from drmn.final.export import TOLERANCE, ExportedNetwork, Metadata, metadata_of
from drmn.final.parity import checked_export, difference
from drmn.model.backbone import Backbone
from drmn.model.network import DRMN
from drmn.tracking.candidates import with_classes
from drmn.tracking.model_package import Package, load, save

FEATURES = FeatureConfig(weights="random", levels="16+32", image_size=64)


@pytest.fixture(scope="module")
def package(toy):
    """An untrained network of two levels on a random backbone."""
    torch.manual_seed(0)
    backbone = Backbone(FEATURES)
    run = RunConfig(model=ModelConfig(levels="16+32", width=8, sit="attr"))
    network = DRMN(run.model, backbone.channels, attributes=6, seen=6)
    return Package(backbone, network, run, toy.classes, Rule("mixture", beta=0.3, gamma=0.1))


@pytest.fixture(scope="module")
def folder(package, tmp_path_factory):
    place = tmp_path_factory.mktemp("model") / "model"
    save(place, package, FEATURES)
    return place


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of differing shapes."""
    place, chance = tmp_path_factory.mktemp("photos"), torch.Generator().manual_seed(0)
    for number, shape in enumerate([(80, 70, 3), (64, 64, 3), (65, 130, 3)]):
        pixels = torch.randint(0, 255, shape, generator=chance, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(place / f"{number}.png")
    return place


@pytest.fixture(scope="module")
def exported(folder, photos, tmp_path_factory):
    """Files of both formats, by their endings, with what the job said of each."""
    place, made = tmp_path_factory.mktemp("exported"), {}
    for kind in ("onnx", "pt2"):
        file = place / f"m.{kind}"
        more = ("--photos", photos, "--json", "parity.json")
        done = run_job("export", place, "--model", folder, "--out", file, *more)
        assert done.returncode == 0, done.stderr
        made[kind] = file, done.stdout, json.loads((place / "parity.json").read_text())
    return made


@pytest.mark.parametrize("formula", get_args(Formula))
@pytest.mark.parametrize("branch", [True, False])
def test_the_exported_module_is_the_rule_of_the_package(package, formula, branch):
    run = replace(package.run, model=ModelConfig(levels="16+32", width=8, global_branch=branch))
    network = DRMN(run.model, package.backbone.channels, attributes=6, seen=6)
    rule = Rule(formula, beta=0.3 if branch else 0.0, gamma=0.2, delta=0.4)
    own = Package(package.backbone, network, run, package.classes, rule)
    pixels = torch.randn(5, 3, 64, 64)
    exact = own.answer(own.backbone(pixels))
    known = own.classes
    with torch.no_grad():
        scores, probabilities, attributes = ExportedNetwork(own)(
            pixels, known.attributes, known.seen.float()
        )
    torch.testing.assert_close(scores.double(), exact.scores, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(probabilities.double(), exact.probabilities, atol=1e-6, rtol=0)
    torch.testing.assert_close(attributes, exact.attributes)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_file_was_found_to_answer_as_the_package_on_photos(exported, kind):
    file, said, found = exported[kind]
    assert found["images"] == 3
    assert found["of"] == "photos"
    assert 0 < found["largest"] <= TOLERANCE
    assert f"{file}: " in said
    assert [path.name for path in file.parent.glob(".*")] == []


@pytest.mark.long
@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_predictions_from_a_file_need_neither_the_package_nor_the_data(
    exported, folder, photos, kind, tmp_path
):
    table = tmp_path / "new.csv"
    table.write_text("class,a0,a3\nokapi,1,2\n")
    told = []
    for model in (folder, exported[kind][0]):
        more = ("--classes", table, "--top", "10", "--json", "out.json")
        done = run_job("predict", tmp_path, "--model", model, photos, *more)
        assert done.returncode == 0, done.stderr
        told.append(json.loads((tmp_path / "out.json").read_text()))
    for one, two in zip(*told, strict=True):
        assert "okapi" in {choice["name"] for choice in one["top"]}
        score = {choice["name"]: choice["score"] for choice in two["top"]}
        assert {c["name"]: c["score"] for c in one["top"]} == pytest.approx(score, abs=TOLERANCE)
        assert dict(one["differences"]) == pytest.approx(dict(two["differences"]), abs=TOLERANCE)


@pytest.mark.long
def test_an_onnx_file_is_one_file_with_all_that_a_photo_needs(exported, package):
    model = onnx.load(exported["onnx"][0], load_external_data=False)
    onnx.checker.check_model(model)
    assert all(not tensor.external_data for tensor in model.graph.initializer)
    assert [each.name for each in model.graph.input] == ["pixels", "attributes", "seen"]
    (text,) = (prop.value for prop in model.metadata_props if prop.key == "drmn")
    told, exact = Metadata.of(text), metadata_of(package)
    assert (told.rule, told.preprocess) == (exact.rule, exact.preprocess)
    assert told.classes.names == exact.classes.names
    assert torch.equal(told.classes.attributes, exact.classes.attributes)


def test_new_unseen_classes_may_stand_anywhere_among_the_seen_ones(package):
    more = with_classes(package.classes, {"okapi": [1, 0, 0, 2, 0, 0]})
    pixels = torch.randn(3, 3, 64, 64)
    exact = package.answer(package.backbone(pixels), more)
    order = torch.tensor([len(more.names) - 1, *range(len(more.names) - 1)])  # the new one first
    with torch.no_grad():
        scores, *_ = ExportedNetwork(package)(
            pixels, more.attributes[order], more.seen[order].float()
        )
    torch.testing.assert_close(scores.double(), exact.scores[:, order], atol=TOLERANCE, rtol=0)


def test_a_file_that_answers_otherwise_is_not_kept(package, tmp_path, monkeypatch):
    monkeypatch.setattr("drmn.final.parity.export", lambda _, file: file.write_text("x"))
    monkeypatch.setattr("drmn.final.parity.Exported", lambda _: package)
    monkeypatch.setattr("drmn.final.parity.difference", lambda *_: 0.01)
    with pytest.raises(Exception, match=r"differs by 1\.0e-02 from the model, more than 1e-04"):
        checked_export(package, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_difference_is_that_of_the_worst_photo(package, folder, photos):
    content = [path.read_bytes() for path in sorted(photos.iterdir())]
    other = load(folder)
    assert difference(package, other, content) == 0
    other.rule = replace(other.rule, beta=0.9)
    gap = [
        (package.classify([photo]).probabilities - other.classify([photo]).probabilities)
        for photo in content
    ]
    assert difference(package, other, content) == pytest.approx(
        max(float(each.abs().max()) for each in gap)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--model is missing"),
        (("--model", "MODEL"), "--out is missing"),
        (("--model", "MODEL", "--out", "x.bin"), "the name must end in .onnx or .pt2"),
        (("--model", "nowhere", "--out", "x.onnx"), "--model nowhere: no model of ours"),
        (("--model", "MODEL", "--out", "no/x.pt2"), "--out no/x.pt2: No such file or directory"),
        (
            ("--model", "MODEL", "--out", "x.pt2", "--photos", "none"),
            "none: no such photo or folder",
        ),
    ],
)
def test_a_mistake_is_one_sentence(folder, tmp_path, arguments, message):
    given = [folder if each == "MODEL" else each for each in arguments]
    done = run_job("export", tmp_path, *given)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.glob("**/*.pt2")) == []


@pytest.mark.parametrize("name", ["x.onnx", "x.pt2"])
def test_a_file_that_is_no_export_is_refused(photos, tmp_path, name):
    (tmp_path / name).write_text("nothing")
    done = run_job("predict", tmp_path, "--model", tmp_path / name, photos)
    assert done.returncode == 2
    assert f"{tmp_path / name}: not a model that can be read" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1

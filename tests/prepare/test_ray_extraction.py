"""Extraction over a Ray cluster: the same store as one process makes."""

import os
import re
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import psutil
import pytest
import ray
import torch
from PIL import Image

from drmn.data.feature_config import FeatureConfig
from drmn.data.images.catalogue import Catalogue
from drmn.data.store import feature_store, layout, partial_store
from drmn.errors import ConfigError, DataError
from drmn.prepare.features import prepare
from drmn.prepare.ray_extraction import over_cluster

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


def in_a_cluster():
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    layout.SHARD_BYTES = 40_000  # five rows


@pytest.fixture(scope="module")
def driver():
    """Return a process with a Ray cluster: Ray ends the process of a driver that loses it."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=in_a_cluster) as process:
        pid = process.submit(os.getpid).result()
        yield process
        started = psutil.Process(pid).children(recursive=True)
        with suppress(BrokenProcessPool):
            process.submit(ray.shutdown).result(timeout=60)
    for each in started:
        with suppress(psutil.NoSuchProcess):
            each.kill()


def spread_out(pictures, folder, stop_after=None, workers=2, gpus=0):
    """Extract over the cluster; return the store and each progress that was told."""
    told = []

    def tell(done, total):
        told.append((done, total))
        if stop_after is not None and done > stop_after:
            raise KeyboardInterrupt

    try:
        place = prepare(
            pictures,
            CONFIG,
            folder,
            start=lambda _: tell,
            spread=over_cluster(workers, gpus),
        )
    except KeyboardInterrupt:
        place = None
    return place, told


def spread(driver, *asked, **more):
    return driver.submit(spread_out, *asked, **more).result(timeout=300)


@pytest.mark.slow
def test_two_workers_make_the_store_that_one_process_makes(driver, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "SHARD_BYTES", 40_000)
    alone = feature_store.read(prepare(pictures, CONFIG, tmp_path / "alone"))
    place, told = spread(driver, pictures, tmp_path / "spread")
    together = feature_store.read(place)
    assert together.key == alone.key
    made = [feature_store.manifest_of(store.folder)["made"] for store in (alone, together)]
    assert made[0]["way"] == made[1]["way"] == "plain"
    every = torch.arange(2 * IMAGES)
    for stride, level in alone.levels.items():
        assert len(level._digests) > 3
        rows = together.levels[stride].rows(every)
        torch.testing.assert_close(rows, level.rows(every), rtol=2**-7, atol=1e-3)
    assert told[-1] == (2 * IMAGES, 2 * IMAGES)


@pytest.mark.slow  # test_prepare.py kills one
def test_a_spread_extraction_goes_on_where_it_stopped(driver, pictures, tmp_path):
    place, _ = spread(driver, pictures, tmp_path, stop_after=20)
    assert place is None
    (half,) = tmp_path.glob(".*.building")
    assert len(partial_store.journal(half)) >= 3
    place, told = spread(driver, pictures, tmp_path, workers=0)
    assert told[-1][1] < 2 * IMAGES - 10
    assert feature_store.read(place).levels[32].rows(torch.arange(IMAGES)).isfinite().all()


def test_gpus_that_the_cluster_has_not_are_told(driver, pictures, tmp_path):
    with pytest.raises(ConfigError, match="--gpus 1: the largest node of the cluster has 0 GPUs"):
        spread(driver, pictures, tmp_path, workers=0, gpus=1)


@pytest.mark.slow
def test_a_bad_image_on_a_worker_is_named(driver, pictures, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    files = (*pictures.files[:-1], bad)
    with pytest.raises(DataError, match=f"^{re.escape(str(bad))}: not a readable image"):
        spread(driver, replace(pictures, files=files), tmp_path / "stores")

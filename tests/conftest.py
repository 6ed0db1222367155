"""What tests share: the real data where it is there, and a small dataset that can be learnt."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook
from paths import ROOT
from PIL import Image
from servers import postgres_server


def _modules_with_shapes():
    """Yield the modules whose signatures state shapes of arrays."""
    for file in sorted((ROOT / "drmn").rglob("*.py")):
        if "from jaxtyping import" in file.read_text():
            yield ".".join(file.relative_to(ROOT).with_suffix("").parts)


# Shapes are checked while tests run; in all other modules types are mypy's, which costs no call.
# mypy takes an int where a float is asked for (PEP 484), so beartype must too.
install_import_hook(
    list(_modules_with_shapes()),
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

from toys import toy_catalogue, toy_key, toy_maps, write_store

from drmn import cli
from drmn.cluster import connect
from drmn.collector import collect_rarely
from drmn.data.splits import development
from drmn.experiment.baseline_cache import cached_baselines
from drmn.io import atomic

# Ray reads these when it is imported; jobs set them before, and tests may have imported it by then.
os.environ |= connect.QUIET | connect.RAY_SETTINGS | connect.STARTS

# Tests keep the cores busy: threads beside that only wait for each other.
torch.set_num_threads(1)
os.environ.update(cli.SPIN)
collect_rarely()

# A busy machine is no bug, and CI must not fail by chance.
settings.register_profile("drmn", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("drmn")

SHARED = Path(os.environ.get("DRMN_SHARED", ROOT.parent / "shared" / "data"))


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/*.json")


# These start processes: jobs, Ray, MLflow's server, PostgreSQL, a browser. Not in `make quick`.
PROCESSES = (
    *("benchmarks", "cluster", "doctor", "faults", "io", "jobs", "prepare", "real", "tracking"),
    *("search/executors", "search/storage", "data/demo/test_demo_difficulty.py"),
    *(
        "data/store/test_build.py",
        "data/store/test_memory.py",
        "data/readers/test_class_folders.py",
        "data/sealed/test_open.py",
    ),
    *("model/test_backbone.py", "model/test_backbone_autotune.py", "test_contributing.py"),
    *("test_cli.py", "test_distributed.py", "test_help.py", "test_readme.py", "test_vision.py"),
    *("training/test_finetuned_tier.py", "training/test_finetuned_workers.py"),
)
LIMIT_S = 900
"""Seconds of a test that starts processes; pyproject.toml has the limit of all others."""


def pytest_collection_modifyitems(items):
    """Mark what starts processes, give it longer, and let it come first.

    Much of it waits, which short tests beside make up for; at the end one would wait alone.
    """
    for item in items:
        place = item.path.relative_to(ROOT / "tests").as_posix()
        if place.startswith(PROCESSES):
            item.add_marker("process")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(LIMIT_S))
    items.sort(key=lambda item: item.get_closest_marker("process") is None)


def pytest_unconfigure():
    """End the Ray cluster that jobs in this process have shared."""
    if "in_process" in sys.modules:
        sys.modules["in_process"].stop_ray()


@pytest.fixture
def golden(request):
    """Return a check of numbers against tests/golden/<name>.json."""

    def check(name: str, numbers: dict[str, float]) -> None:
        path = ROOT / "tests" / "golden" / f"{name}.json"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(numbers, indent=1) + "\n")
        # Another machine's kernels round otherwise, and Adam makes the most of it.
        assert numbers == pytest.approx(json.loads(path.read_text()), rel=1e-4)

    return check


@pytest.fixture(autouse=True)
def _no_store_of_another_test(monkeypatch):
    """MLflow notes in the environment which store it was last told of, and jobs look there."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


@pytest.fixture(autouse=True)
def _no_second_ray(monkeypatch):
    """A local Ray in this process would leave the cluster that tests share unusable."""

    def started(_):
        pytest.fail("a job in this process starts a local Ray: run_job(…, ray=True), or a process")

    monkeypatch.setattr(connect, "_start_local", started)


@pytest.fixture(scope="session")
def shared():
    """Return a function from a name to the folder of real data; skips where it is not there."""

    def folder(name: str) -> Path:
        if not (SHARED / name).is_dir():
            pytest.skip(f"no {SHARED / name}: set DRMN_SHARED to the folder of the real data")
        return SHARED / name

    return folder


@pytest.fixture(autouse=True)
def one_thread():
    """Sums round alike with one thread, so numbers can be compared exactly."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def toy_store(tmp_path_factory):
    """Return the folder of a feature store with strides 16 (8 channels) and 32 (12 channels)."""
    root = tmp_path_factory.mktemp("stores")
    catalogue = toy_catalogue()
    return write_store(root, toy_key(catalogue), catalogue, dict(toy_maps(catalogue)))


@pytest.fixture(scope="session")
def toy(toy_store):
    """Return fold 1 of the toy data: 48 training images, 12 val-seen, 30 val-unseen."""
    return development.open_store(toy_store)


@pytest.fixture(scope="session")
def toy_photos(tmp_path_factory):
    """Return photos on which each attribute is a stripe of its own."""
    root, chance = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    catalogue = toy_catalogue()
    shows = catalogue.attributes[catalogue.labels] > 0
    files = []
    for name, attributes in zip(catalogue.images, shows, strict=True):
        pixels = chance.integers(0, 80, (36, 36, 3))
        for stripe in np.flatnonzero(attributes):
            pixels[6 * stripe : 6 * stripe + 6, :, stripe % 3] += 150
        file = root / name.replace("/", "-").replace(".jpg", ".png")
        Image.fromarray(pixels.astype(np.uint8)).save(file)
        files.append(file)
    return replace(catalogue, files=tuple(files))


@pytest.fixture
def ray_does_not_start(monkeypatch):
    """Let no Ray start on this machine, and no features be made."""

    def timed_out(_):
        raise TimeoutError("Timed out after 30 seconds while waiting for node to startup.")

    def extracted(*_):
        raise AssertionError("features were made")

    monkeypatch.setattr("drmn.prepare.features.Extraction.fill", extracted)
    monkeypatch.setattr(connect, "_start_local", timed_out)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """Return results in which the demo's features and baselines are made: once for all workers."""
    results = tmp_path_factory.mktemp("results")
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demo-features"
    with atomic.alone(shared.with_suffix(".lock")):
        if not shared.is_dir():
            made = shared.with_suffix(".part")
            command = [sys.executable, ROOT / "jobs" / "prepare.py", "--dataset", "demo"]
            subprocess.run([*command, "--results", made], check=True, capture_output=True)
            (store,) = (made / "features").glob("demo-*")
            cached_baselines(development.open_store(store), 1, made / "baselines")
            made.rename(shared)
    shutil.copytree(shared, results, dirs_exist_ok=True)
    return results


@pytest.fixture(scope="session")
def postgres():
    """Return a PostgreSQL server; its password is in PGPASSFILE."""
    with postgres_server() as server:
        yield server

"""Ray that cannot start is told in a sentence within seconds, before features are made."""

import json
import re
import socket
import tempfile
from pathlib import Path

import pytest
from in_process import run_job
from mounts import disk
from ray._common.usage.usage_constants import CLUSTER_METADATA_KEY
from ray._private.ray_constants import KV_NAMESPACE_CLUSTER
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster

from drmn.cluster import connect
from drmn.cluster.connect import ray_session
from drmn.cluster.reachable import MAX_SOCKET_PATH, SESSION, _check_versions, check_ray
from drmn.errors import ConfigError, DataError
from drmn.prepare.features import Extraction

START_LOCAL = connect._start_local
"""What fixtures replace, as tests' processes start no local Ray."""


@pytest.fixture
def closed_port():
    """Return a port of this machine on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.parametrize("job", ["tune", "train", "prepare"])
def test_a_dead_address_is_named_before_anything_is_made(tmp_path, monkeypatch, closed_port, job):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port}")
    done = run_job(job, tmp_path, "--dataset", "demo")
    assert done.returncode == 2
    assert f"RAY_ADDRESS=127.0.0.1:{closed_port}: no Ray answers there" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["127.0.0.1", "head:port", ":6379"])
def test_an_address_without_a_port_is_refused(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match=r"such as 10\.0\.0\.1:6379\.$"):
        check_ray()


@pytest.fixture(scope="module")
def head():
    """Return the address of the head of a cluster that this Ray and Python have started."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "object_store_memory": 80_000_000,
            "include_dashboard": False,
        },
    )
    yield cluster.address
    cluster.shutdown()


def test_a_cluster_of_this_ray_is_joined_and_one_of_another_is_refused(monkeypatch, head):
    monkeypatch.setenv("RAY_ADDRESS", head)
    check_ray()
    client = GcsClient(address=head)
    client.internal_kv_put(
        CLUSTER_METADATA_KEY,
        json.dumps({"ray_version": "2.9.1", "python_version": "3.10.2"}).encode(),
        True,  # noqa: FBT003
        KV_NAMESPACE_CLUSTER,
    )
    check_ray()  # asked once in a process
    _check_versions.cache_clear()
    words = f"RAY_ADDRESS={head}: the cluster runs Ray 2.9.1 on Python 3.10.2, and this is Ray "
    with pytest.raises(ConfigError, match=f"^{re.escape(words)}.*install them here"):
        check_ray()


def test_what_listens_and_is_no_ray_is_refused(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{other.getsockname()[1]}")
        with pytest.raises(ConfigError, match="what listens there is no head of Ray"):
            check_ray()


@pytest.fixture
def local(monkeypatch):
    """Let Ray be started on this machine; return how the folder for its files is set."""
    for each in ("RAY_ADDRESS", "TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(each, raising=False)
    return monkeypatch.setenv


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_for_sockets_may_be_so_long_and_no_longer(local, name):
    most = MAX_SOCKET_PATH - len(SESSION)
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # tmp_path is too long
        local(name, f"{short}/{'x' * (most - len(short) - 1)}")
        check_ray()
        local(name, f"{short}/{'x' * (most - len(short))}")
        with pytest.raises(ConfigError, match=f"^{name}=.*x: Ray's sockets would have"):
            check_ray()


def test_a_folder_that_ray_cannot_write_to_is_refused(local):
    local("RAY_TMPDIR", "/proc/none")
    with pytest.raises(ConfigError, match=r"^RAY_TMPDIR=/proc/none: Ray cannot write there \("):
        check_ray()


def test_a_folder_without_room_for_rays_files_is_refused(local):
    with tempfile.TemporaryDirectory(dir="/tmp") as small, disk(Path(small), "size=3m"):
        local("RAY_TMPDIR", small)
        with pytest.raises(ConfigError, match="3 MB are free, too few for Ray's files"):
            check_ray()


def test_ray_that_does_not_start_is_one_sentence(local, monkeypatch):
    monkeypatch.setattr(connect, "_start_local", START_LOCAL)
    local("RAY_TMPDIR", "/proc/none")  # Ray itself finds that it has no folder
    with (
        pytest.raises(ConfigError, match=r"^Ray did not start on this machine \(.*proc") as refused,
        ray_session(),
    ):
        raise AssertionError("it started")
    assert "\n" not in str(refused.value)
    assert "/dev/shm has" in str(refused.value)  # noqa: S108


@pytest.mark.parametrize("job", ["tune", "train"])
@pytest.mark.usefixtures("ray_does_not_start")
def test_ray_that_does_not_start_is_found_before_features_are_made(tmp_path, shared, job):
    done = run_job(job, tmp_path, "--dataset", "cub", "--data-root", shared("cub2010_mini"))
    assert done.returncode == 2
    assert "error: Ray did not start on this machine (Timed out after 30 seconds" in done.stderr
    assert not list(tmp_path.rglob("record.db"))


def test_a_plan_makes_features_and_starts_no_ray(tmp_path, monkeypatch, shared):
    def started(_):
        raise AssertionError("Ray was started")

    def extracted(*_):
        raise DataError("features are made")

    monkeypatch.setattr(Extraction, "fill", extracted)
    monkeypatch.setattr(connect, "_start_local", started)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    data = ("--dataset", "cub", "--data-root", shared("cub2010_mini"))
    done = run_job("tune", tmp_path, *data, "--plan")
    assert "error: features are made" in done.stderr

"""Ray that cannot start is told in a sentence within seconds, before features are made."""

import re
import socket
import time

import pytest
from in_process import run_job

from drmn.cluster.reachable import MAX_SOCKET_PATH, SESSION, check_ray
from drmn.errors import ConfigError


@pytest.fixture
def closed_port():
    """Return a port of this machine on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.parametrize("job", ["tune", "train", "prepare"])
def test_a_dead_address_is_named_before_anything_is_made(tmp_path, monkeypatch, closed_port, job):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port}")
    began = time.monotonic()
    done = run_job(job, tmp_path, "--dataset", "demo")
    assert time.monotonic() - began < 30
    assert done.returncode == 2
    assert f"RAY_ADDRESS=127.0.0.1:{closed_port}: no Ray answers there" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["127.0.0.1", "head:port", ":6379"])
def test_an_address_without_a_port_is_refused(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match=r"such as 10\.0\.0\.1:6379\.$"):
        check_ray()


def test_a_head_that_listens_is_joined(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as head:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{head.getsockname()[1]}")
        check_ray()


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_for_sockets_may_be_so_long_and_no_longer(monkeypatch, name):
    for each in ("RAY_ADDRESS", "TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(each, raising=False)
    most = MAX_SOCKET_PATH - len(SESSION)
    monkeypatch.setenv(name, "/" + "x" * (most - 1))
    check_ray()
    monkeypatch.setenv(name, "/" + "x" * most)
    with pytest.raises(ConfigError, match=f"^{re.escape(name)}=/x+: Ray's sockets would have"):
        check_ray()

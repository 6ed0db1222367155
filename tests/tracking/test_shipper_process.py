"""The shipper of a driver: started again when it dies, and what is said of one that fails."""

import io
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow_store import new_store
from mlflow_trees import check_tree, fill, ship_all
from rich.console import Console
from web import free_port, until

from drmn.tracking import events
from drmn.tracking.shipper_process import ShipperProcess, drain
from drmn.tracking.spool import Spool
from drmn.tracking.uri import URI


@pytest.fixture
def spool(tmp_path):
    """Return a spool with a study."""
    spool = Spool(tmp_path / "spool.db")
    fill(spool)
    return spool


def said(shipper, spool, uri):
    """Return what a job prints at its end."""
    console = Console(file=io.StringIO(), width=1000)
    drain(shipper, spool, uri, console)
    return console.file.getvalue()


def test_a_shipper_that_is_killed_again_and_again_is_started_again(tmp_path, spool):
    uri = new_store(tmp_path)
    shipper = ShipperProcess(spool.path, uri)
    for _ in range(2):
        killed = shipper.process
        killed.kill()
        until(lambda killed=killed: shipper.process is not killed, 60)
    assert shipper.drain(spool)
    assert shipper.ends[:2] == [-9, -9]
    check_tree(uri)


def test_one_that_is_killed_while_its_driver_waits_for_the_rest_is_started_again(tmp_path, spool):
    uri = new_store(tmp_path)
    shipper = ShipperProcess(spool.path, uri)
    threading.Timer(0.5, shipper.process.kill).start()
    assert shipper.drain(spool)
    check_tree(uri)


def test_a_driver_that_starts_again_takes_over_from_a_shipper_that_was_left_behind(tmp_path, spool):
    left = ShipperProcess(spool.path, f"http://127.0.0.1:{free_port()}")
    left.release()
    until(lambda: spool.shipper.tried, 300)  # it would try for ten minutes
    uri = new_store(tmp_path)
    assert ShipperProcess(spool.path, uri).drain(spool)
    assert left.process.wait(120) == 0
    check_tree(uri)


def test_a_full_disk_below_the_log_does_not_stop_it(tmp_path, spool):
    uri = new_store(tmp_path)
    spool.put(*events.metrics("s", {"no'such;name": 1.0}, 1))  # which it writes a line about
    with Path("/dev/full").open("w") as full:
        subprocess.run(
            [sys.executable, "-m", "drmn.tracking", "ship", spool.path],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=full,
            env=os.environ | {URI: uri},
            check=False,
        )
    assert (spool.count, len(spool.refused)) == (0, 1)
    check_tree(uri)


class Refusing(BaseHTTPRequestHandler):
    """Answers every request with the status of its server."""

    def do_POST(self):
        body = json.dumps({"error_code": "PERMISSION_DENIED", "message": "No."}).encode()
        body = b"You are not authenticated." if self.server.status == 401 else body
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def refusing():
    """Return a function that starts a server which refuses everybody, and returns its address."""
    servers = []

    def start(status):
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Refusing))
        servers[-1].status = status
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_are_refused_are_not_called_a_server_that_is_away(spool, refusing, status):
    uri = refusing(status)
    count = spool.count
    text = said(ShipperProcess(spool.path, uri), spool, uri)
    assert text.startswith(
        f"MLflow at {uri} lacks {count} entries: it refuses the credentials (HTTP {status}"
    )
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        assert f"MLFLOW_TRACKING_{name}" in text
    assert "does not answer" not in text
    assert f"python jobs/sync.py {spool.path.parent} --tracking-uri {uri}" in text


def test_a_server_that_is_away_is_said_to_be_and_nothing_is_lost(spool):
    uri, count = "http://127.0.0.1:9", spool.count  # the discard port: nobody is there
    text = said(ShipperProcess(spool.path, uri), spool, uri)
    assert f"lacks {count} entries: it does not answer (" in text
    assert spool.count == count


def test_entries_that_found_no_room_are_counted_too(spool):
    spool.missed, uri = 3, "http://127.0.0.1:9"
    text = said(ShipperProcess(spool.path, uri), spool, uri)
    assert f"lacks {spool.count + 3} entries: {spool.path} had no room for 3." in text


def test_a_client_that_cannot_be_made_is_not_called_a_server_that_is_away(spool):
    uri = "mysql+nodriver://host/mlflow"
    text = said(ShipperProcess(spool.path, uri), spool, uri)
    assert "entries: no client of it can be made (Can't load plugin" in text
    assert "does not answer" not in text


def test_a_shipper_that_is_still_starting_is_not_called_a_server_that_is_away(spool, monkeypatch):
    monkeypatch.setattr("drmn.tracking.shipper_process.START_S", 0.0)  # nobody waits for it
    uri = "http://127.0.0.1:9"
    shipper = ShipperProcess(spool.path, uri)
    monkeypatch.setattr(shipper, "_closed", True)
    console = Console(file=io.StringIO(), width=1000)
    shipper.drain(spool, idle=0.0)
    drain(shipper, spool, uri, console)
    text = console.file.getvalue()
    assert "entries: the process that sends them has not started yet" in text
    assert "does not answer" not in text


def test_a_shipper_that_dies_at_each_start_is_said_to(spool, monkeypatch):
    monkeypatch.setattr("drmn.tracking.shipper_process.START_S", 0.0)
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # no Python starts
    uri = "http://127.0.0.1:9"
    shipper = ShipperProcess(spool.path, uri)
    until(lambda: shipper.ends, 60)
    text = said(shipper, spool, uri)
    assert "entries: the process that sends them ended " in text
    assert f"see {spool.path.with_suffix('.log')}" in text


def test_what_one_shipper_was_refused_another_sends(spool, tmp_path, refusing):
    uri = refusing(401)
    assert not ShipperProcess(spool.path, uri).drain(spool)
    there = new_store(tmp_path)
    ship_all(spool, there)
    check_tree(there)

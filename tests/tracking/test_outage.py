"""A server of MLflow that is away, slow, broken or deaf: each thing is there once in the end."""

import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mlflow_store import new_store
from mlflow_trees import check_tree, fill
from web import answers, free_port, running, until

from drmn.tracking.server import Server
from drmn.tracking.shipper_process import ShipperProcess
from drmn.tracking.spool import Spool


class Front(ThreadingHTTPServer):
    """Stands before a server and misbehaves: each rule says how many requests it is for."""

    daemon_threads = True

    def __init__(self, behind):
        super().__init__(("127.0.0.1", 0), Passing)
        self.behind, self.rules, self.lock = behind, [], threading.Lock()
        self.done = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_):
        """Say nothing of requests that were broken off: that is what is tested."""

    def rule(self):
        with self.lock:
            rule = "pass"
            if self.rules:
                rule, left = self.rules[0]
                self.rules[0] = (rule, left - 1)
                if left == 1:
                    self.rules.pop(0)
            self.done[rule] = self.done.get(rule, 0) + 1
            return rule


class Passing(BaseHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        rule = self.server.rule()
        if rule == "away":
            self.connection.close()
            return
        if rule in ("429", "500"):
            self.answer(int(rule), b"{}")
            return
        if rule == "a page":  # as a proxy that wants a login answers
            self.answer(200, b"<html>Log in</html>", "text/html")
            return
        if rule == "slow":
            time.sleep(1.0)
        status, content = self.ask(body)
        if rule == "deaf":  # it has done what it was asked, and nobody hears of that
            self.connection.close()
            return
        if rule == "half":
            self.answer(status, content[: len(content) // 2], length=len(content))
            self.connection.close()
            return
        self.answer(status, content)

    def ask(self, body):
        kept = {k: v for k, v in self.headers.items() if k in ("Content-Type", "Authorization")}
        request = urllib.request.Request(
            self.server.behind + self.path, body or None, kept, method=self.command
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()

    def answer(self, status, content, form="application/json", length=None):
        self.send_response(status)
        self.send_header("Content-Type", form)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_PUT = pass_on


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory):
    """Return the address of a server on a SQLite file."""
    folder = tmp_path_factory.mktemp("server")
    server = Server(uri=new_store(folder), port=free_port())
    with running(server.command(), folder / "log", server.environment()) as process:
        address = f"http://127.0.0.1:{server.port}"
        until(lambda: answers(f"{address}/health"), 120, process)
        yield address


RULES = {
    "away at the start": [("away", 6)],
    "away in the middle": [("pass", 7), ("away", 6)],
    "answers 500": [("pass", 5), ("500", 6)],
    "slow": [("slow", 5)],
    "does and never says so": [("pass", 1), ("deaf", 1)] * 8,
    "answers by half": [("pass", 1), ("half", 1)] * 8,
    "answers 429": [("pass", 5), ("429", 6)],
    "behind a proxy that wants a login": [("pass", 5), ("a page", 3)],
}


@pytest.mark.parametrize(
    "name",
    [
        "away at the start",
        "does and never says so",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in RULES
            if name not in ("away at the start", "does and never says so")
        ),
    ],
)
def test_each_thing_is_there_once_when_the_server_was(mlflow_server, tmp_path, name):
    front = Front(mlflow_server)
    front.rules = list(RULES[name])
    spool = Spool(tmp_path / "spool.db")
    study = f"study{list(RULES).index(name)}"
    fill(spool, study)
    assert ShipperProcess(spool.path, front.uri).drain(spool, idle=240)
    assert not front.rules  # all of it has happened
    check_tree(front.uri, study)
    front.shutdown()


def test_a_server_that_stays_away_costs_nobody_anything_and_gets_all_later(mlflow_server, tmp_path):
    front = Front(mlflow_server)
    front.rules = [("away", 10**6)]
    spool = Spool(tmp_path / "spool.db")
    fill(spool, "late")
    before = spool.count
    assert not ShipperProcess(spool.path, front.uri).drain(spool, idle=2)
    assert spool.count == before
    front.rules = []
    for _ in range(3):  # and shippers that are killed on the way
        shipper = ShipperProcess(spool.path, front.uri)
        left = spool.count
        until(lambda left=left: spool.count < left or not left, 60)
        shipper.process.kill()
        shipper.stop()
    assert ShipperProcess(spool.path, front.uri).drain(spool, idle=240)
    check_tree(front.uri, "late")
    front.shutdown()

"""MLflow's store at a job's start: what is refused, and what is noted."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import sqlalchemy

from drmn.errors import ConfigError
from drmn.tracking.reachable import require_client, store_problem
from drmn.tracking.store import connect


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://host/mlflow", "must be one that starts with sqlite:///"),
        ("mysql+nodriver://host/mlflow", "no client of it can be made (Can't load plugin"),
        ("mysql://host/mlflow", "no client of it can be made (No module named 'MySQLdb')"),
        ("http://host:port", "must be a whole address"),
    ],
)
def test_a_store_that_no_client_can_be_made_for_is_refused(uri, message):
    with pytest.raises(ConfigError) as refused:
        require_client(uri)
    assert message in str(refused.value)


def test_a_folder_is_refused_where_a_file_is_asked_for(tmp_path):
    with pytest.raises(ConfigError, match="is a folder; give a file"):
        require_client(f"sqlite:///{tmp_path}")


def test_a_store_that_is_away_is_not_refused():
    require_client("http://127.0.0.1:9")
    require_client("postgresql://me@127.0.0.1:9/mlflow")


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://127.0.0.1:9", "Connection refused"),
        ("http://no-such-host.invalid:5000", ""),
        ("postgresql://me@127.0.0.1:9/mlflow", "Connection refused"),
    ],
)
def test_a_store_that_is_away_is_said_to_be(uri, reason):
    said = store_problem(uri)
    assert said.startswith("it does not answer (")
    assert reason in said
    assert "\n" not in said


def test_a_server_that_takes_a_request_and_says_nothing_is_waited_for_in_vain(monkeypatch):
    monkeypatch.setattr("drmn.tracking.reachable.LIMIT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = store_problem(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert said == "it does not answer (within 0.5 s)"


class Answering(BaseHTTPRequestHandler):
    """Answers with the status and body of its server, which notes what was asked."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(self.headers.get("Authorization"))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Return a server, whose address is `uri`; no credentials are known."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as found:
        found.status, found.body, found.asked = 200, b"{}", []
        found.uri = f"http://127.0.0.1:{found.server_port}"
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b"{}", ""),
        (200, b"<html>", "it is no server of MLflow: its answer is no JSON"),
        (401, b"", "it refuses the credentials (HTTP 401): set MLFLOW_TRACKING_USERNAME and"),
        (403, b"Invalid Host", "it refuses the credentials (HTTP 403: Invalid Host): set MLFLOW_"),
        (404, b"", "it answers HTTP 404"),
        (500, b"", "it answers HTTP 500"),
    ],
)
def test_a_server_is_said_to_be_what_it_answers(server, status, body, message):
    server.status, server.body = status, body
    said = store_problem(server.uri)
    assert said.startswith(message)
    assert bool(said) == bool(message)


def test_credentials_of_the_environment_are_shown_to_the_server(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "open sesame")
    store_problem(server.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc")
    store_problem(server.uri)
    assert server.asked == ["Basic bWU6b3BlbiBzZXNhbWU=", "Bearer abc"]


def test_a_file_of_another_kind_is_a_problem_and_one_to_be_made_is_none(tmp_path):
    (tmp_path / "text.db").write_text("no database at all, and long enough")
    assert "file is not a database" in store_problem(f"sqlite:///{tmp_path}/text.db")
    assert store_problem(f"sqlite:///{tmp_path}/new.db") == ""
    assert not (tmp_path / "new.db").exists()


def test_a_database_of_another_schema_is_a_problem_at_the_start_already(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    connect(uri)
    assert store_problem(uri) == ""
    with sqlalchemy.create_engine(uri).begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = 'f00d'"))
    assert store_problem(uri).startswith("its database has the schema f00d of a later MLflow")

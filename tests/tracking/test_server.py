"""MLflow's server as it is started for others: PostgreSQL, passwords, files through the server."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest
from mlflow import MlflowClient
from mlflow_trees import check_tree, fill, runs
from servers import PASSWORD, USER
from web import answers, free_port, running, until

from drmn.errors import ConfigError
from drmn.tracking import events
from drmn.tracking.server import Server
from drmn.tracking.shipper_process import ShipperProcess
from drmn.tracking.spool import Spool

WRITERS = 8
ADMIN = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "for tests alone"}


@pytest.mark.slow
def test_eight_searches_write_at_a_time_to_postgresql_behind_a_password(
    postgres, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", ADMIN["MLFLOW_TRACKING_PASSWORD"])
    monkeypatch.setenv("MLFLOW_FLASK_SERVER_SECRET_KEY", "another secret")
    uri = postgres.database().replace(USER, f"{USER}:{quote(PASSWORD)}", 1)
    port = free_port()
    command = [sys.executable, "-m", "drmn.tracking", "serve", "--auth", "--port", str(port)]
    command += ["--artifacts", tmp_path / "files", "--users", tmp_path / "users.db"]
    address = f"http://127.0.0.1:{port}"
    with running(command, tmp_path / "log", {"MLFLOW_TRACKING_URI": uri}) as server:
        until(lambda: answers(f"{address}/health"), 180, server)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{address}/api/2.0/mlflow/experiments/get?experiment_id=0")
        for name, value in ADMIN.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "picture.png").write_bytes(b"picture")
        spools = [Spool(tmp_path / f"spool{n}.db") for n in range(WRITERS)]
        for n, spool in enumerate(spools):
            fill(spool, f"s{n}")
            spool.put(*events.artifact(f"s{n}", tmp_path / "picture.png", "pictures"))
        shippers = [ShipperProcess(spool.path, address) for spool in spools]
        for shipper, spool in zip(shippers, spools, strict=True):
            assert shipper.drain(spool, idle=1200)
        for n in range(WRITERS):
            check_tree(address, f"s{n}")
        run = runs(address, "s3")["s3"]
        assert run.info.artifact_uri.startswith("mlflow-artifacts:")
        sent = MlflowClient(address).download_artifacts(run.info.run_id, "pictures/picture.png")
        assert Path(sent).read_bytes() == b"picture"
        shown = Path(f"/proc/{server.pid}/cmdline").read_bytes()
    assert quote(PASSWORD).encode() not in shown
    assert quote(PASSWORD) not in (tmp_path / "log").read_text()
    for path in (*(tmp_path / "files").rglob("*"), tmp_path / "users.db", tmp_path / "users.ini"):
        assert path.stat().st_mode & 0o077 == 0, path  # for this user alone


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"host": "192.0.2.1"}, "--host 192.0.2.1: whoever reaches it could change all of it"),
        ({"auth": True}, "--auth needs MLFLOW_AUTH_ADMIN_PASSWORD and MLFLOW_FLASK_SERVER_SECRET"),
        ({"uri": "sqlite:////no/such.db"}, "no such database; jobs/tune.py makes one."),
        ({"uri": "http://there:5000"}, "that is a server already; open it in a browser."),
        ({"artifacts": ""}, "--artifacts is missing: a folder or s3:// place"),
    ],
)
def test_what_is_not_safe_or_not_whole_is_refused_in_a_sentence(more, message, monkeypatch):
    monkeypatch.delenv("MLFLOW_AUTH_ADMIN_PASSWORD", raising=False)
    monkeypatch.delenv("MLFLOW_FLASK_SERVER_SECRET_KEY", raising=False)
    with pytest.raises(ConfigError) as refused:
        Server(**{"uri": "postgresql://there/mlflow", "artifacts": "files", **more})
    assert message in str(refused.value)


def test_the_command_line_says_so_without_a_traceback(tmp_path):
    command = [sys.executable, "-m", "drmn.tracking", "serve", "--host", "192.0.2.1"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MLFLOW_TRACKING_URI": "postgresql://there/mlflow"},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: --host 192.0.2.1: ")
    assert "Traceback" not in done.stderr

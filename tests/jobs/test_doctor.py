"""`jobs/doctor.py` as a person runs it."""

import json
import os
from unittest import mock

import pytest
from in_process import run_job
from paths import ROOT
from ray.cluster_utils import Cluster


def doctor(folder, *more, **environment):
    with mock.patch.dict(os.environ, {"HOME": str(folder)} | environment):
        return run_job("doctor", ROOT, "--json", folder / "out.json", *more)


def problems(folder):
    return [f for f in json.loads((folder / "out.json").read_text()) if not f["ok"]]


@pytest.mark.parametrize("name", ["cluster.yaml", "cluster/on-prem.yaml", "cluster/kuberay.yaml"])
def test_a_file_as_shipped_is_told_field_by_field(tmp_path, name):
    done = doctor(tmp_path, "--cluster", name)
    assert done.returncode == 1
    blank = [f for f in problems(tmp_path) if f["remedy"] == "fill it in"]
    assert blank
    for finding in blank:
        assert f"problem  {finding['name']}: <YOUR-" in done.stdout


def test_a_file_that_is_filled_in_has_no_problem(tmp_path):
    (tmp_path / ".ray").mkdir()
    for secret in (tmp_path / ".ray" / "auth_token", tmp_path / "key"):
        secret.write_text("secret")
        secret.chmod(0o600)
    text = (ROOT / "cluster" / "on-prem.yaml").read_text()
    for blank in ("HEAD", "WORKER", "OTHER-WORKER", "SSH-USER", "SHARED-FOLDER"):
        text = text.replace(f"<YOUR-{blank}>", "mine")
    file = tmp_path / "mine.yaml"
    file.write_text(text.replace("<YOUR-SSH-KEY>", str(tmp_path / "key")))
    done = doctor(tmp_path, "--cluster", file)
    assert (done.returncode, problems(tmp_path)) == (0, []), done.stdout
    (tmp_path / "key").chmod(0o644)
    assert doctor(tmp_path, "--cluster", file).returncode == 1
    assert problems(tmp_path)[0]["remedy"] == f"chmod 600 {tmp_path / 'key'}"


def test_a_file_that_is_none_is_refused_in_a_sentence(tmp_path):
    done = doctor(tmp_path, "--cluster", "README.md")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --cluster README.md, line")
    assert "Traceback" not in done.stderr


def test_this_machine_is_looked_at(tmp_path):
    results = tmp_path / "results"
    done = doctor(tmp_path, "--results", results, "--tracking-uri", f"sqlite:///{tmp_path}/m.db")
    names = {f["name"] for f in json.loads((tmp_path / "out.json").read_text())}
    assert {"python", "torch", "disk", "results", "MLflow", "port 6379"} <= names
    assert "Traceback" not in done.stderr
    assert not results.exists()  # it looks, and leaves nothing


def test_all_nodes_of_a_cluster_are_looked_at(tmp_path):
    small = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=small)
    try:
        cluster.add_node(**small)
        more = ("--results", tmp_path / "results", "--least-gb", "0")
        done = doctor(tmp_path, *more, RAY_ADDRESS=cluster.address)
    finally:
        cluster.shutdown()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("clock of ") == 2
    assert "ok       code on all machines" in done.stdout
    assert not list((tmp_path / "results").iterdir())

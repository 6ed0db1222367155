"""The files that describe clusters: Ray's own schema, EC2's, and what Ray looks at in neither."""

import os
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from paths import ROOT

from drmn.cluster import launch_file
from drmn.errors import ConfigError

AWS, ON_PREM, KUBERAY = "cluster.yaml", "cluster/on-prem.yaml", "cluster/kuberay.yaml"
RAY_UP = pytest.mark.parametrize("name", [AWS, ON_PREM])


def content(name):
    return launch_file.read(ROOT / name)


@RAY_UP
def test_ray_takes_the_file(name):
    assert launch_file.against_schema(content(name)) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_workers": "many"}, "max_workers: 'many' is not of type 'integer'"),
        ({"colour": "red"}, "Additional properties are not allowed ('colour' was unexpected)"),
        ({"head_node_type": "boss"}, "`head_node_type` must be one of `available_node_types`"),
        ({"provider": {"type": "local"}}, "available_node_types is not supported for on-premise"),
        ({"provider": {"type": "moon"}}, "moon"),
    ],
)
def test_what_ray_would_refuse_is_told_in_a_line(change, words):
    assert words in launch_file.against_schema({**content(AWS), **change})


def test_ec2_knows_all_that_its_machines_are_asked_for():
    session = pytest.importorskip("botocore.session", reason="no botocore: it knows EC2's fields")
    validate = pytest.importorskip("botocore.validate")
    ec2 = session.get_session().get_service_model("ec2")
    fields = ec2.operation_model("RunInstances").input_shape
    for kind in content(AWS)["available_node_types"].values():
        asked = {"MinCount": 1, "MaxCount": 1, **kind["node_config"]}
        assert validate.ParamValidator().validate(asked, fields).generate_report() == ""


def test_the_head_runs_no_trials_and_workers_are_spot_first():
    kinds = content(AWS)["available_node_types"]
    assert kinds["head"]["resources"] == {"CPU": 0, "GPU": 0}
    spot = [n for n, kind in kinds.items() if "InstanceMarketOptions" in kind["node_config"]]
    assert spot == ["gpu_spot"]
    assert kinds["gpu_spot"]["priority"] > kinds["gpu"]["priority"]
    like = kinds["gpu"]["node_config"] | {"InstanceMarketOptions": {"MarketType": "spot"}}
    assert kinds["gpu_spot"]["node_config"] == like


@RAY_UP
def test_each_machine_gets_the_token_and_all_that_make_setup_needs(name):
    mounts = content(name)["file_mounts"]
    assert "~/.ray/auth_token" in mounts.values()
    project = {local for local in mounts.values() if not local.startswith("~")}
    assert all((ROOT / local).exists() for local in project)
    assert {"pyproject.toml", "constraints.txt", "README.md", "Makefile", "drmn"} <= project


@RAY_UP
def test_ray_up_stops_ray_first_and_opens_no_dashboard(name):
    for kind, starts in (
        ("head", "ray start --head"),
        ("worker", "cluster/worker.sh $RAY_HEAD_IP"),
    ):
        first, second, *_ = content(name)[f"{kind}_start_ray_commands"]
        assert first == "ray stop"
        assert starts in second
    assert "--dashboard-host=127.0.0.1" in content(name)["head_start_ray_commands"][1]


def test_kubernetes_is_told_the_ray_that_the_image_has():
    spec = content(KUBERAY)["spec"]
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"ray=={spec['rayVersion']}" in pins
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    images = {c["image"] for pod in pods(spec) for c in pod["containers"]}
    assert images == {"<YOUR-IMAGE>"}
    mounted = {
        m["mountPath"] for pod in pods(spec) for c in pod["containers"] for m in c["volumeMounts"]
    }
    assert mounted == {"/home/ray/drmn/shared"}


def pods(spec):
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


@pytest.mark.parametrize("name", [AWS, ON_PREM, KUBERAY])
def test_what_is_to_be_filled_in_is_found_by_name(name):
    text = (ROOT / name).read_text()
    code = "\n".join(line.split("#")[0] for line in text.splitlines())
    found = list(launch_file.blanks(content(name)))
    assert {blank for _, blank in found} == set(launch_file.BLANK.findall(code))
    assert found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such file"),
        ("a: [", "line 1: not YAML"),
        ("just words", "neither a cluster of `ray up`"),
        ("a: 1", "it has no provider"),
    ],
)
def test_what_is_no_cluster_is_refused(tmp_path, text, words):
    file = Path(tmp_path, "cluster.yaml")
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match="--cluster") as refused:
        launch_file.read(file)
    assert words in str(refused.value)


def test_scripts_name_what_the_project_has():
    for name in (AWS, ON_PREM):
        text = yaml.safe_dump(content(name))
        for script in ("setup.sh", "mlflow.sh"):
            assert f"~/drmn/cluster/{script}" in text
            assert (ROOT / "cluster" / script).is_file()


class Metadata(BaseHTTPRequestHandler):
    """What EC2 tells an instance of itself, to those who asked for a token first."""

    going = False

    def do_PUT(self):
        self.answer(200, "token" if "X-aws-ec2-metadata-token-ttl-seconds" in self.headers else "")

    def do_GET(self):
        there = self.going and self.path == "/meta-data/spot/instance-action"
        allowed = self.headers["X-aws-ec2-metadata-token"] == "token"
        self.answer(200 if there and allowed else 404, '{"action": "terminate"}')

    def answer(self, status, text):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        """Say nothing."""


def test_a_spot_instance_that_is_to_go_gives_ray_notice(tmp_path, monkeypatch):
    (tmp_path / "drmn").mkdir()
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server,
        subprocess.Popen(["sleep", "60"]) as ray,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "drmn" / "ray.pid").write_text(str(ray.pid))
        here = {"HOME": str(tmp_path), "DRMN_METADATA": f"http://127.0.0.1:{server.server_port}"}
        script = ["bash", ROOT / "cluster" / "spot.sh"]
        subprocess.run(script, env=os.environ | here, check=True)
        with pytest.raises(subprocess.TimeoutExpired):
            ray.wait(2)
        monkeypatch.setattr(Metadata, "going", True)
        assert ray.wait(20) == -signal.SIGTERM
        server.shutdown()

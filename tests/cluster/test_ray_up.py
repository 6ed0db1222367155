"""`ray up cluster/on-prem.yaml`, really: on hosts of their own, from a laptop, and down again."""

import json
import os
import shutil

import pytest
from hosts import hosts, missing
from loopback import local_hosts
from machines import eventually
from paths import ROOT

SUBMIT = "RAY_AUTH_MODE=token RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265 ray job submit --"
SEARCH = (
    "python jobs/tune.py --dataset demo --space {shared}/smoke.py --budget.trials 3 "
    "--budget.at-once 2"
)
RUNS = "curl -s -X POST http://127.0.0.1:5000/api/2.0/mlflow/runs/search"
RAY = ("raylet", "gcs_server", "ray::", "/ray/", "mlflow")
"""What the command lines have of all that `ray up` starts."""


def filled(addresses, laptop):
    """Return cluster/on-prem.yaml as a user fills it in."""
    text = (ROOT / "cluster" / "on-prem.yaml").read_text()
    answers = {
        "<YOUR-HEAD>": addresses["head"],
        "<YOUR-WORKER>": addresses["one"],
        "<YOUR-OTHER-WORKER>": addresses["two"],
        "<YOUR-SSH-USER>": "root",
        "<YOUR-SSH-KEY>": laptop.key,
        "<YOUR-SHARED-FOLDER>": laptop.shared,
    }
    for blank, answer in answers.items():
        assert blank in text
        text = text.replace(blank, answer)
    return text


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """Return a laptop with the file filled in, a head and two workers; and what all share."""
    base = tmp_path_factory.mktemp("hosts")
    make = local_hosts if missing() or "DRMN_LOOPBACK" in os.environ else hosts
    with make(["laptop", "head", "one", "two"], base) as made:
        laptop = made["laptop"]
        addresses = {name: host.address for name, host in made.items()}
        (laptop.home / "cluster.yaml").write_text(filled(addresses, laptop))
        shutil.copy(ROOT / "tests" / "spaces" / "smoke.py", base / "shared")
        yield made, base / "shared"


def runs(laptop):
    """Return what MLflow on the head says of the first experiment that is not the default one."""
    asked = json.dumps({"experiment_ids": ["1"], "max_results": 50})
    said = laptop.run(f"{RUNS} -H 'content-type: application/json' -d '{asked}'")
    return json.loads(said)["runs"]


def tags(run):
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


@pytest.mark.timeout(900)
def test_a_search_on_a_cluster_of_own_machines(machines, demo):
    made, shared = machines
    laptop, head = made["laptop"], made["head"]
    shutil.copytree(demo, shared / "results")  # features that are there are not made again
    laptop.run("ray get-auth-token --generate > /dev/null && chmod 600 ~/.ray/auth_token")
    laptop.run("ray up -y --no-config-cache ~/cluster.yaml")

    eventually(
        lambda: "3 local.cluster.node" in laptop.run("ray exec ~/cluster.yaml 'ray status'"),
        "both workers",
    )
    assert made["one"].run("stat -c %a ~/.ray/auth_token").strip() == "600"
    # Nothing of the head is open to the network but what asks for the token.
    for port in (5000, 8265):
        assert "open" not in laptop.run(f"curl -s http://{head.address}:{port} && echo open; true")
    with laptop.at_work("ray exec ~/cluster.yaml -p 8265 -p 5000 'sleep infinity'"):
        eventually(
            lambda: "OK" in laptop.run("curl -s http://127.0.0.1:5000/health; true"), "MLflow"
        )
        status = "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8265/api/version"
        assert laptop.run(status).strip() == "401"  # a stranger has no token
        looked = laptop.run(f"{SUBMIT} python jobs/doctor.py --least-gb 0", check=False)
        network = head.address.rpartition(".")[0]
        assert looked.count(f"ok       clock of {network}.") == 3
        assert "problem " not in looked
        said = laptop.run(f"{SUBMIT} {SEARCH.format(shared=laptop.shared)}", seconds=500)
        assert "Best settings of study smoke" in said
        trials = [run for run in runs(laptop) if "mlflow.parentRunId" in tags(run)]
        assert sum("/00" in tags(run)["drmn.run"] for run in trials) == 3
        assert {run["info"]["status"] for run in trials} == {"FINISHED"}

    laptop.run("ray down -y ~/cluster.yaml")
    eventually(
        lambda: not [line for host in made.values() for line in host.processes() if is_ray(line)],
        "all to end",
    )


def is_ray(line):
    return any(part in line for part in RAY)

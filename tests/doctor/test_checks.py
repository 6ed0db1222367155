"""What is made of what machines say of themselves."""

from dataclasses import replace

import pytest

from drmn.doctor import checks, services
from drmn.doctor.machine import Facts, facts, mark
from drmn.doctor.secrets import private

WELL = Facts(
    python="3.12.1",
    ray="2.60.0",
    torch="2.14.1+cu130",
    built_for="13.0",
    gpus=1,
    drivers=("580.10",),
    code="abc",
    free=10**12,
    stores={"cub-1": "d1"},
    shared="",
    now=1000.0,
)
GB = 10**9


def problems(findings):
    return {finding.name: finding for finding in findings if not finding.ok}


def test_a_machine_that_is_well_has_no_problem():
    assert not problems(checks.machine(WELL, GB))


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        ({"python": "3.9.2"}, "python", "install Python 3.11 or newer"),
        ({"gpus": 0}, "torch", "update NVIDIA's driver to one that knows CUDA 13.0"),
        ({"gpus": 0, "built_for": ""}, "torch", "install a torch that is built for CUDA"),
        ({"free": 1}, "disk", "make room for 1 GB"),
        ({"shared": "/r cannot be written to (Read-only)"}, "results", "mount the same storage"),
    ],
)
def test_what_is_wrong_with_a_machine_is_told_with_a_remedy(change, name, words):
    found = problems(checks.machine(replace(WELL, **change), GB))
    assert set(found) == {name}
    assert words in str(found[name])


def test_a_machine_without_a_gpu_is_well():
    assert not problems(checks.machine(replace(WELL, gpus=0, drivers=(), built_for=""), GB))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"python": "3.11.9"}, "python, minor version on all machines"),
        ({"ray": "2.59.0"}, "ray on all machines"),
        ({"torch": "2.13.0"}, "torch on all machines"),
        ({"code": "abd"}, "code on all machines"),
        ({"stores": {"cub-1": "d2"}}, "features cub-1"),
    ],
)
def test_machines_that_differ_are_told_by_what_they_have(change, name):
    every = {"head": WELL, "worker": replace(WELL, **change)}
    found = problems(checks.alike(every))
    assert set(found) == {name}
    assert "on head" in found[name].found
    assert "on worker" in found[name].found


def test_a_store_that_only_some_machines_have_is_no_difference():
    assert not problems(checks.alike({"head": WELL, "worker": replace(WELL, stores={})}))


@pytest.mark.parametrize(
    ("says", "ok"), [(100.0, True), (103.5, True), (95.0, False), (110.0, False)]
)
def test_a_clock_is_wrong_if_it_cannot_be_right(says, ok):
    """Asked at 100 and answered by 103: between them it is right, 2 s beside them it may be."""
    assert checks.clock("one", says, (100.0, 103.0)).ok is ok


def test_a_folder_that_another_machine_does_not_see_is_found(tmp_path):
    mark(tmp_path, "word").write_text("word")
    assert facts(tmp_path, "word").shared == ""
    mark(tmp_path, "word").unlink()
    assert "is another folder" in facts(tmp_path, "word").shared


def test_a_secret_that_others_can_read_is_found(tmp_path):
    file = tmp_path / "token"
    assert private("token", file, "make one").remedy == "make one"
    file.write_text("secret")
    file.chmod(0o644)
    assert private("token", file, "").remedy == f"chmod 600 {file}"
    file.chmod(0o600)
    assert private("token", file, "").ok


def test_mlflow_that_does_not_answer_is_found(tmp_path):
    assert not services.mlflow("http://127.0.0.1:1").ok
    assert services.mlflow(f"sqlite:///{tmp_path}/mlflow.db").ok  # it can be made
    (tmp_path / "mlflow.db").write_text("no database")
    assert "no database of MLflow's" in services.mlflow(f"sqlite:///{tmp_path}/mlflow.db").found

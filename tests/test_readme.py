"""README: each of its commands is run as it stands there, or says why not."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT
from documents import commands

COMMANDS = commands(ROOT / "README.md")


@pytest.fixture(scope="module")
def clone(demo, tmp_path_factory):
    """Return a folder as a clone's, with the demo's features and no results of others."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("drmn", "jobs", "search_spaces", "docs"):
        (folder / name).symlink_to(ROOT / name)
    subprocess.run(["cp", "-a", demo, folder / "results"], check=True)
    return folder


def test_the_path_from_files_to_a_result_is_run_in_order(clone):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    for command in (each for each in COMMANDS if not each.why_not):
        program, *arguments = command.line.split()
        assert program == "python", f"{command.line}: run it here, or mark it"
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=clone,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command.line}\n{done.stdout}{done.stderr}"
        if "--budget.trials" in command.line:
            assert "Best settings of study first" in done.stdout
            assert "ESZSL, same features and split" in done.stdout
        if "--status" in command.line:
            assert "first" in done.stdout


def test_the_jobs_are_among_the_commands_that_are_run():
    run = [command.line for command in COMMANDS if not command.why_not]
    assert {"prepare", "tune"} <= {re.findall(r"jobs/(\w+)", line)[0] for line in run}


def test_make_has_the_targets_that_are_named():
    named = [command.line.split()[1] for command in COMMANDS if command.line.startswith("make")]
    assert {"demo", "test"} <= set(named)
    for target in named:
        dry = ["make", "--dry-run", target]
        assert subprocess.run(dry, cwd=ROOT, capture_output=True, check=False).returncode == 0

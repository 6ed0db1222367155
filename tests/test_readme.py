"""README: each of its commands is run as it stands there, or says why not."""

import os
import re
import subprocess
import sys

import pytest
from documents import commands
from in_process import run_job
from paths import ROOT

COMMANDS = commands(ROOT / "README.md")


@pytest.fixture(scope="module")
def clone(demo, tmp_path_factory):
    """Return a folder as a clone's, with the demo's features and no results of others."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("drmn", "jobs", "search_spaces", "docs"):
        (folder / name).symlink_to(ROOT / name)
    subprocess.run(["cp", "-a", demo, folder / "results"], check=True)
    return folder


RUN = [command.line for command in COMMANDS if not command.why_not]
SHOWN = {
    "--plan": "worker time",
    "--budget.trials": "Best settings of study first",
    "--status": "study first",
    "--help-all": "--optim.lr",
}
"""What some of them say, by an option."""


@pytest.mark.parametrize("line", RUN)
def test_a_command_does_what_it_says(line, clone, monkeypatch):
    """In the page's order: each needs those before."""
    program, path, *arguments = line.split()
    assert program == "python", "run it here, or mark it"
    monkeypatch.setenv("COLUMNS", "120")
    job = re.fullmatch(r"jobs/(\w+)\.py", path)
    if job and "--help-all" not in arguments:
        done = run_job(job[1], clone, *arguments, ray="--budget.trials" in arguments)
    else:
        done = subprocess.run(
            [sys.executable, path, *arguments],
            cwd=clone,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    for option, text in SHOWN.items():
        if option in arguments:
            assert text in done.stdout


def test_the_jobs_are_among_the_commands_that_are_run():
    assert {"prepare", "tune"} <= {re.findall(r"jobs/(\w+)", line)[0] for line in RUN}


def test_make_has_the_targets_that_are_named():
    named = [command.line.split()[1] for command in COMMANDS if command.line.startswith("make")]
    assert {"demo", "test"} <= set(named)
    for target in named:
        dry = ["make", "--dry-run", target]
        assert subprocess.run(dry, cwd=ROOT, capture_output=True, check=False).returncode == 0

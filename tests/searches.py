"""The search job on the demo, as a person runs it."""

import json
import subprocess
import sys

from conftest import ROOT

PLAIN = ("--no-figures", "--budget.models", "1")
"""What a search does beside: it takes seconds, and test_mlflow.py looks at it."""


SPACE = ROOT / "tests" / "spaces" / "smoke.py"


def run(folder, *arguments):
    command = [sys.executable, ROOT / "jobs" / "tune.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def command_of(folder, results, *more, plain=PLAIN):
    """Return the arguments of a small search."""
    return (
        *("--results", results, "--space", SPACE, "--study", folder.name, "--json", "out.json"),
        *("--budget.trials", "4", *plain, *more),
    )


def search(folder, results, *more, plain=PLAIN):
    """Run a small search; return its output and its outcome."""
    done = run(folder, *command_of(folder, results, *more, plain=plain))
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, json.loads((folder / "out.json").read_text())

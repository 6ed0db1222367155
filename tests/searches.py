"""The search job on the demo, as a person runs it."""

import json

from in_process import run_job
from mlflow_store import new_store
from paths import ROOT

PLAIN = ("--no-figures", "--budget.model-mb", "0", "--budget.at-once", "1")
"""What a search does beside: it takes seconds, and test_mlflow.py looks at it."""


SPACE = ROOT / "tests" / "spaces" / "smoke.py"


def run(folder, *arguments):
    return run_job("tune", folder, *arguments)


def command_of(folder, results, *more, plain=PLAIN):
    """Return the arguments of a small search."""
    return (
        *("--results", results, "--space", SPACE, "--study", folder.name, "--json", "out.json"),
        *("--budget.trials", "4", *plain, *more),
    )


def search(folder, results, *more, plain=PLAIN):
    """Run a small search; return its output and its outcome."""
    arguments = command_of(folder, results, *more, plain=plain)
    new_store(folder)
    done = run_job("tune", folder, *arguments, ray=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, json.loads((folder / "out.json").read_text())

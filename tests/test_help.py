"""The short help of a job: what most people need, on one screen; and all of it on request."""

import os
import subprocess
import sys

import pytest
from paths import ROOT

SCREEN = 50
"""Lines."""


def shown(job, *arguments):
    command = [sys.executable, ROOT / "jobs" / f"{job}.py", *arguments]
    env = os.environ | {"COLUMNS": "100"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return done.stdout


@pytest.mark.parametrize("job", ["tune", "train", "prepare"])
def test_help_fits_on_one_screen_with_groups_and_examples(job):
    text = shown(job, "--help")
    lines = text.splitlines()
    assert len(lines) <= SCREEN
    assert max(map(len, lines)) <= 100
    assert f"python jobs/{job}.py --dataset demo" in text
    assert {"Data:", "Workers:", "Where:"} <= set(lines)
    assert "…" not in text  # a sentence that is cut says nothing
    assert lines[-1].endswith("options in all: --help-all shows them.")


def test_every_setting_is_in_the_full_help_alone():
    assert "--policy.window" not in shown("tune", "--help")
    assert "--policy.window" in shown("tune", "--help-all")

"""CONTRIBUTING: each of its worked diffs applies to today's code, and what it adds works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

DIFFS = dict(
    re.findall(
        r"^## ([^\n]*)\n(?:(?!^## ).)*?^```diff\n(.*?)^```$",
        (ROOT / "CONTRIBUTING.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )
)
DATASET = """
from drmn.config import RunConfig
from drmn.data.specs import SPECS, spec
from drmn.space import baseline, load
assert "awa1" in SPECS and spec("awa1").classes == 50
assert baseline(load("awa1"), RunConfig()).keys() == {
    "model.scale", "loss.self_calibration", "optim.lr"
}
"""
LOSS = """
import torch
from drmn.config import LossConfig, ModelConfig, RunConfig
from drmn.fields import flatten, with_overrides
from drmn.data.splits.development import Classes
from drmn.model.network import Scores
from drmn.training.losses import total
assert flatten(RunConfig())["loss.attribute_l1"] == 0
classes = Classes(("a", "b"), torch.eye(2), torch.tensor([True, False]))
scores = Scores(torch.tensor([[3.0, -4.0]]), None, None)
def loss(config):
    return total(config, ModelConfig(), scores, classes, torch.tensor([0]))[0].item()
more = with_overrides(RunConfig(), {"loss.attribute_l1": 2.0}).loss
assert abs(loss(more) - loss(LossConfig()) - 2 * 3.5) < 1e-5
"""
SAMPLER = """
import sys
import optuna, tyro
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial
from drmn.search.samplers.factory import make_sampler
sys.path.insert(0, "jobs")
from tune import TuneJob
policy = tyro.cli(TuneJob, args=["--policy.sampler", "tpe-univariate"]).policy
def drawn():
    study = optuna.create_study(sampler=make_sampler(policy, 0, 8, 8), direction="maximize")
    lr = FloatDistribution(1e-4, 1e-2, log=True)
    for n in range(1, 9):
        trial = create_trial(params={"x": n * 1e-3}, distributions={"x": lr}, value=n)
        study.add_trial(trial)
    return study.ask().suggest_float("x", 1e-4, 1e-2, log=True)
assert 1e-4 <= drawn() == drawn() <= 1e-2
"""
CHECKS = {"A dataset": DATASET, "A loss term": LOSS, "A sampler": SAMPLER}


@pytest.fixture
def copy(tmp_path):
    """Return a copy of the tracked files of this checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            target = tmp_path / "copy" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    return tmp_path / "copy"


def run(folder, *command, text=None):
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_diff_has_a_check():
    assert DIFFS.keys() == CHECKS.keys()


@pytest.mark.parametrize("heading", CHECKS)
def test_a_diff_applies_and_what_it_adds_works(heading, copy):
    run(copy, "git", "apply", "-", text=DIFFS[heading])
    run(copy, sys.executable, "-c", CHECKS[heading])


@pytest.mark.parametrize("heading", CHECKS)
def test_a_diff_keeps_the_house_rules_and_its_own_tests_pass(heading, copy):
    run(copy, "git", "apply", "-", text=DIFFS[heading])
    changed = re.findall(r"^\+\+\+ b/(.*)$", DIFFS[heading], re.MULTILINE)
    ruff = Path(sys.executable).with_name("ruff")
    run(copy, ruff, "check", *changed)
    run(copy, ruff, "format", "--check", *changed)
    tests = [name for name in changed if name.startswith("tests/")]
    if tests:
        run(copy, sys.executable, "-m", "pytest", "--override-ini", "addopts=", *tests)

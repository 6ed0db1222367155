"""Trials whose loss explodes, and searches that nothing makes better."""

import pytest
from in_process import run_job
from kills import TRIALS, command, finish


def spaced(folder, demo, text, *more):
    """Return the arguments of a search of a space that is given as text."""
    space = folder / "bad.py"
    space.write_text(text)
    return [*command(folder, demo, *more), "--space", space]


def test_a_loss_that_explodes_fails_its_trial_alone_and_says_at_which_step(demo, tmp_path):
    arguments = spaced(
        tmp_path,
        demo,
        "def space(trial):\n"
        "    trial.suggest_categorical('optim.lr', [3e-3, 1e30])\n"
        "    return {'model.sit': 'none', 'optim.epochs': 2, 'model.width': 16}\n",
    )
    plain = finish(arguments, tmp_path)
    states = {(trial["params"]["optim.lr"], trial["state"]) for trial in plain["trials"]}
    assert states == {(3e-3, "COMPLETE"), (1e30, "FAIL")}
    assert len(plain["trials"]) == TRIALS
    causes = {trial["cause"] for trial in plain["trials"] if trial["state"] == "FAIL"}
    assert all("not finite" in cause for cause in causes), causes


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["curve-gp", "tpe", "gp"])
def test_a_metric_that_is_always_the_same_ends_no_search_and_is_said(demo, tmp_path, sampler):
    arguments = spaced(
        tmp_path,
        demo,
        "def space(trial):\n"
        "    trial.suggest_float('optim.lr', 1e-12, 1e-11)\n"
        "    return {'model.sit': 'none', 'optim.epochs': 1, 'model.width': 16}\n",
        *("--policy.sampler", sampler, "--budget.trials", "8"),
    )
    done = run_job("tune", tmp_path, *arguments[2:], ray=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr

"""A search that nothing makes better: every trial has the same value at every epoch."""

import pytest
from in_process import run_job
from kills import command, ended

SPACE = """
def space(trial):
    trial.suggest_float("optim.lr", 1e-12, 1e-11)
    return {"model.sit": "none", "optim.epochs": 2, "model.width": 16}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "pruner"), [("curve-gp", "halving"), ("tpe", "hyperband"), ("gp", "halving")]
)
def test_a_metric_that_never_changes_stops_no_search(demo, tmp_path, sampler, pruner):
    space = tmp_path / "flat.py"
    space.write_text(SPACE)
    policy = ("--policy.sampler", sampler, "--policy.pruner", pruner)
    arguments = [*command(tmp_path, demo, *policy, "--budget.trials", "9"), "--space", space]
    done = run_job("tune", tmp_path, *arguments[2:], ray=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    plain = ended(arguments, tmp_path)
    assert len(plain["trials"]) == 9
    # A point that is repeated has another seed.
    assert len({trial["value"] for trial in plain["trials"][:5]}) == 1

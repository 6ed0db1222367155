"""What Tune holds of trials that are over, and what Ray has started and imported for them."""

import copy
import json
import subprocess
import sys

import pytest
from paths import ROOT

from drmn.experiment.trial_task import TrialTask
from drmn.search.executors.tune_memory import TaskRef


@pytest.mark.slow  # a Ray of this test alone
def test_trials_that_are_over_leave_nothing_in_tune(tmp_path):
    command = [sys.executable, ROOT / "tests" / "idle.py", tmp_path]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["states"] == ["COMPLETE"] * 3 + ["FAIL", "COMPLETE"]
    nothing = {"task": False, "metrics": [], "result": []}
    over = [{"status": "TERMINATED", **nothing}] * 3
    assert told["resources"] == 1
    assert (told["imported"], told["unused"]) == ([], 0)
    assert told["held"] == [*over, {"status": "ERROR", **nothing}, over[0]]


def test_a_task_on_its_way_is_not_copied():
    handed = TaskRef(TrialTask(settings={}, folder="", store="", objective="val/H"))
    assert copy.deepcopy({"task": handed})["task"] is handed

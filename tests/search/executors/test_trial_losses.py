"""Trials that run out of memory or hang: run again once, smaller or elsewhere, and then failed."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from in_process import joined_ray
from ray import cloudpickle
from studies import executor_config

from drmn.cluster.resources import ResourceConfig
from drmn.config import OptimConfig, RunConfig
from drmn.experiment.study_layout import STACKS
from drmn.experiment.trial_checkpoints import trial_folder
from drmn.experiment.trial_task import TrialTask
from drmn.fields import flatten
from drmn.metric_names import COST
from drmn.search.config import PolicyConfig
from drmn.search.executors import heartbeat
from drmn.search.executors.tune_executor import execute
from drmn.search.storage.studies import open_study
from drmn.search.study.ask_tell import AskTellStudy
from drmn.search.trial_summary import HUNG, LOST, MEMORY
from drmn.space import fixed_settings

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's workers do not import tests
CONFIG = RunConfig(optim=OptimConfig(epochs=1, batch_size=32))
EPOCH = {"epoch": 1, "metrics": {"val/H": 0.5, COST: 0.5}}


class NeedsMemory(TrialTask):
    """Takes more memory than there is, for more than 16 images at a time."""

    room = 16

    def epochs(self, device, leave):
        del device, leave
        if (self.settings["compute.micro_batch"] or 32) > self.room:
            np.ones(1 << 50)
        yield EPOCH


class NeedsMore(NeedsMemory):
    """Takes too much for 16 images too."""

    room = 8


def is_first(task):
    """Return whether no process has asked before."""
    asked = Path(task.folder).parents[1] / "asked"
    first = not asked.exists()
    asked.touch()
    return first


class DiesOnce(TrialTask):
    """Ends its process without a word, in the first one."""

    def epochs(self, device, leave):
        del device, leave
        if is_first(self):
            os.kill(os.getpid(), signal.SIGKILL)
        yield EPOCH


class HangsOnce(TrialTask):
    """Waits for ever, in its first process."""

    def epochs(self, device, leave):
        del device, leave
        if is_first(self):
            self.wait_for_ever()
        yield EPOCH

    def wait_for_ever(self):
        time.sleep(1e6)


class Hangs(HangsOnce):
    """Waits for ever, in each process."""

    def epochs(self, device, leave):
        del device, leave
        self.wait_for_ever()
        yield EPOCH


class HangsUntilEnded(HangsOnce):
    """Waits for ever in all processes of its first group."""

    def epochs(self, device, leave):
        del device, leave
        if not any(file.stat().st_size for file in Path(self.folder).glob(STACKS)):
            self.wait_for_ever()
        yield EPOCH


class HangsInTheFirstTrial(HangsOnce):
    """Waits for ever in the first trial, in each process of it."""

    def epochs(self, device, leave):
        del device, leave
        if self.folder.endswith("0000"):
            self.wait_for_ever()
        yield EPOCH


def run(folder, kind, trials=1, **resources):
    """Run trials of a kind of task; return the study's record."""
    policy = PolicyConfig(sampler="random", pruner="none")
    study = AskTellStudy(open_study(folder, flatten(CONFIG)), fixed_settings, CONFIG, policy)
    with joined_ray():
        short = ResourceConfig(stall_minutes=0.01, **resources)
        execute(study, executor_config(study, folder, kind, trials, resources=short))
    return study.record


def test_a_trial_that_loses_its_process_runs_again(tmp_path):
    record = run(tmp_path, DiesOnce)
    (row,) = record.trial_summaries()
    assert (row.state, row.losses) == ("COMPLETE", {LOST: 1})


def test_a_trial_out_of_memory_runs_again_with_smaller_micro_batches(tmp_path):
    record = run(tmp_path, NeedsMemory)
    (row,) = record.trial_summaries()
    assert (row.state, row.value) == ("COMPLETE", 0.5)
    assert row.settings["compute.micro_batch"] == 16
    assert row.settings["optim.batch_size"] == 32
    assert record.trial(row.number).user_attrs[MEMORY] == 1


def test_a_trial_out_of_memory_twice_fails_and_says_so(tmp_path):
    (row,) = run(tmp_path, NeedsMore).trial_summaries()
    assert row.state == "FAIL"
    assert row.cause.startswith("out of memory, and no retry with a smaller micro-batch is left: ")
    assert "Unable to allocate" in row.cause


def test_a_trial_that_hangs_is_ended_with_its_stacks_and_resumes(tmp_path):
    record = run(tmp_path, HangsOnce)
    (row,) = record.trial_summaries()
    assert (row.state, record.trial(0).user_attrs[HUNG]) == ("COMPLETE", 1)
    folder = trial_folder(tmp_path, 0)
    (stacks,) = folder.glob(STACKS)
    assert "in wait_for_ever" in stacks.read_text()
    assert heartbeat.heartbeats(folder) == {}


@pytest.mark.slow  # the test above twice
def test_a_trial_that_hangs_twice_fails(tmp_path):
    (row,) = run(tmp_path, Hangs).trial_summaries()
    assert row.state == "FAIL"
    assert row.cause.startswith("hung twice (--stall-minutes): no step in ")
    assert len(list(trial_folder(tmp_path, 0).glob(STACKS))) == 2


@pytest.mark.slow  # like those above, on Ray Train's worker groups
def test_a_trial_out_of_memory_on_a_group_runs_again_with_smaller_micro_batches(tmp_path):
    record = run(tmp_path, NeedsMemory, trials=2, backend="pool", workers=2)
    for row in record.trial_summaries():
        assert (row.state, row.value) == ("COMPLETE", 0.5)
        assert row.settings["compute.micro_batch"] == 8  # half of a worker's share of the batch
        assert row.settings["optim.batch_size"] == 32
        assert record.trial(row.number).user_attrs[MEMORY] == 1


@pytest.mark.slow
def test_a_group_that_hangs_is_ended_with_its_stacks_and_its_trial_resumes(tmp_path):
    record = run(tmp_path, HangsUntilEnded, backend="pool", workers=2)
    (row,) = record.trial_summaries()
    assert (row.state, row.losses) == ("COMPLETE", {HUNG: 1})
    for stacks in trial_folder(tmp_path, 0).glob(STACKS):
        assert "in wait_for_ever" in stacks.read_text()


@pytest.mark.slow
def test_a_group_whose_trial_hangs_twice_takes_the_next_one(tmp_path):
    record = run(tmp_path, HangsInTheFirstTrial, trials=2, backend="trial", workers=2)
    first, second = record.trial_summaries()
    assert first.cause.startswith("hung twice (--stall-minutes): no step in ")
    assert (first.state, second.state) == ("FAIL", "COMPLETE")

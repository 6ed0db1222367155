"""The searcher, whatever the order of trials: a new one with the record's trials chooses alike."""

import math
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    precondition,
    rule,
)
from studies import metrics, open_toy

from drmn.errors import ConfigError

pytestmark = pytest.mark.slow  # half a minute of opening studies

VALUES = st.sampled_from([0.0, 0.2, 0.4, 0.4, 0.9, 1.0, math.nan]) | st.floats(0.0, 1.0)
"""Equal ones too: trials that tie."""
MOST = 12
"""Trials of a study; the samplers' models are fitted after `startup_trials`."""


def space(trial):
    trial.suggest_float("optim.lr", 1e-4, 1e-2, log=True)
    if trial.suggest_categorical("model.sit", ["none", "batch"]) == "batch":
        trial.suggest_int("model.sit_layers", 1, 3)
    return {"optim.epochs": 4}


class Searcher(RuleBasedStateMachine):
    """A study whose trials start, report, fail and end in any order, and whose driver dies."""

    running = Bundle("running")

    @initialize(
        sampler=st.sampled_from(["random", "tpe", "curve-gp", "gp"]),
        pruner=st.sampled_from(["halving", "hyperband", "none"]),
        window=st.sampled_from([0, 3]),
    )
    def start(self, sampler, pruner, window):
        self.folder = Path(tempfile.mkdtemp())
        self.policy = {"sampler": sampler, "pruner": pruner, "window": window, "startup_trials": 3}
        self.study = self.opened()
        self.alive = {}
        """Epochs of running trials."""

    def opened(self):
        return open_toy(self.folder, space, **self.policy)

    def teardown(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    @precondition(lambda self: self.study.record.count < MOST)
    @rule(target=running)
    def ask(self):
        trials = self.study.record.chosen()
        try:
            again = self.opened().searcher.ask(len(trials), trials)
        except ConfigError:
            again = None
        chosen = self.study.ask()
        if chosen is None:
            assert again is None
            return -1
        if chosen.number == len(trials):  # none that lost its process
            assert again is not None
            assert again.trial.params == chosen.params
        self.alive.setdefault(chosen.number, 0)
        return chosen.number

    @rule(target=running, number=consumes(running), value=VALUES)
    def report(self, number, value):
        if number not in self.alive or number in self.study.record.interrupted:
            return number
        epoch = self.alive[number] = self.alive[number] + 1
        best = max([value, *self.study.record.trial(number).intermediate_values.values()])
        twin = self.opened().searcher
        if self.study.report(number, epoch, metrics(value)):
            del self.alive[number]
        row = self.study.record.trial_summary(number)
        if math.isfinite(value) and row.state in ("PRUNED", "RUNNING"):
            assert twin.judge(number, epoch, best, 4) == row.cause
        return number

    @rule()
    def kill_the_driver(self):
        self.study = self.opened()


TestSearcher = Searcher.TestCase
TestSearcher.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

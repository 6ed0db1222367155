"""The record under any order of epochs, losses, prunings and deaths of its driver."""

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
    invariant,
    precondition,
    rule,
)
from studies import metrics, open_toy

from drmn.search.trial_summary import HUNG, LOST, MEMORY, MOVED

pytestmark = pytest.mark.long

EPOCHS = 3
FINISHED = ("COMPLETE", "PRUNED", "FAIL")
VALUES = st.floats(0.0, 1.0) | st.just(math.nan)


class Record(RuleBasedStateMachine):
    """A study that is driven at random, and what it has acknowledged."""

    running = Bundle("running")

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.study = open_toy(self.folder)
        self.known = {}
        """Epochs and values that were reported, by trial."""
        self.ended = {}
        """State, value and cause of finished trials, when they ended."""
        self.lost = {}

    def teardown(self):
        shutil.rmtree(self.folder)

    def _row(self, number):
        return self.study.record.trial_summary(number)

    def _note_end(self, number):
        row = self._row(number)
        assert row.state in FINISHED
        self.ended[number] = (row.state, row.value, row.cause)

    @rule(target=running)
    def ask(self):
        waiting = list(self.study.record.interrupted)
        point = self.study.ask()
        if waiting:  # those that lost their process run before any new one
            assert point.number == waiting[0]
        else:
            assert point.number == len(self.known)
            self.known[point.number] = {}
        return point.number

    @rule(target=running, number=consumes(running), value=VALUES)
    def report(self, number, value):
        known = self.known.get(number)
        if number in self.ended or number in self.study.record.interrupted:
            return number
        epoch = len(known) + 1
        ends = self.study.report(number, epoch, metrics(value))
        if math.isfinite(value):
            known[epoch] = value
        if ends:
            self._note_end(number)
        return number

    @rule(target=running, number=consumes(running))
    def report_again(self, number):
        """A trial that resumes repeats its last epoch, which changes nothing."""
        known = self.known[number]
        alive = number not in self.ended and number not in self.study.record.interrupted
        if known and alive and not self.study.report(number, len(known), metrics(0.123)):
            assert self._row(number).epochs == len(known)
        elif known and alive:
            self._note_end(number)
        return number

    @rule(
        target=running, number=consumes(running), loss=st.sampled_from([LOST, MOVED, HUNG, MEMORY])
    )
    def lose(self, number, loss):
        record = self.study.record
        if number in self.ended or number in record.interrupted:
            return number
        times = self.lost.setdefault(number, {})
        times[loss] = times.get(loss, 0) + 1
        most = {LOST: record.max_failures, MOVED: math.inf}.get(loss, 1)
        again = (
            bool(record.requeue_smaller(number, 1))
            if loss == MEMORY
            else record.requeue(number, loss)
        )
        assert again == (times[loss] <= most)
        if not again:
            record.fail(number, f"lost: {loss}")
            self._note_end(number)
        return number

    @precondition(lambda self: self.known)
    @rule()
    def kill_the_driver(self):
        self.study = open_toy(self.folder)
        alive = [number for number in self.known if number not in self.ended]
        assert self.study.record.interrupted == alive

    @invariant()
    def what_was_acknowledged_is_there_once(self):
        for number, known in self.known.items():
            assert dict(self.study.record.trial(number).intermediate_values) == known

    @invariant()
    def what_has_ended_stays_as_it_was(self):
        for number, end in self.ended.items():
            row = self._row(number)
            assert (row.state, row.value, row.cause) == end

    @invariant()
    def the_best_trial_is_the_highest_of_those_that_count(self):
        best = self.study.record.best()
        values = [
            max(self.known[number].values())
            for number, (state, *_) in self.ended.items()
            if state != "FAIL" and self.known[number]
        ]
        assert (best.value if best else None) == (max(values) if values else None)


TestRecord = Record.TestCase
TestRecord.settings = settings(
    max_examples=6,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

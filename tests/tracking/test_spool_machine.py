"""The spool under any order of puts, deaths, deliveries and refusals."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from drmn.tracking.spool import open_spool

KEYS = st.sampled_from([f"run/{i}" for i in range(8)])


class Queue(RuleBasedStateMachine):
    """A spool, and what a caller and a shipper were promised of it."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.spool = open_spool(self.folder / "spool.db")
        self.waiting, self.told, self.refused, self.runs = [], set(), [], {}

    def teardown(self):
        shutil.rmtree(self.folder)

    def _expect(self, key):
        if key not in self.told:
            self.told.add(key)
            self.waiting.append({"key": key})

    def _put_and_die(self, keys):
        with self.spool.together():
            for key in keys:
                self.spool.put(key, {"key": key})
            raise KeyboardInterrupt

    @rule(key=KEYS)
    def put(self, key):
        self.spool.put(key, {"key": key})
        self._expect(key)

    @rule(keys=st.lists(KEYS, max_size=4))
    def put_together(self, keys):
        with self.spool.together():
            for key in keys:
                self.spool.put(key, {"key": key})
        for key in keys:
            self._expect(key)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4))
    def die_while_putting_together(self, keys):
        with pytest.raises(KeyboardInterrupt):
            self._put_and_die(keys)

    @rule(count=st.integers(0, 5), bad=st.integers(0, 2))
    def ship(self, count, bad):
        found = self.spool.waiting(count)
        refused = [(event, "no") for _, event in found[:bad]]
        runs = {event["key"]: f"id of {event['key']}" for _, event in found[bad:]}
        self.spool.shipped([number for number, _ in found], runs, refused)
        assert [event for _, event in found] == self.waiting[:count]
        del self.waiting[:count]
        self.refused += refused
        self.runs |= runs

    @rule()
    def die_after_mlflow_has_it(self):
        """The shipper dies before it says so: nothing is lost, and it is sent again."""
        self.spool.waiting(3)
        self.spool = open_spool(self.folder / "spool.db")

    @invariant()
    def each_entry_is_in_one_place(self):
        assert [event for _, event in self.spool.waiting()] == self.waiting
        assert self.spool.refused == self.refused
        assert self.spool.runs() == self.runs
        assert self.spool.count == len(self.waiting)
        assert self.spool.missed == 0


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)

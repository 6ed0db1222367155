"""The ledger of test splits under any order of openings, deaths and changes by hand."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from drmn.data.sealed import ledger
from drmn.errors import DataError

PARTS = st.sampled_from(["one", "two", "three"])
STUDIES = st.sampled_from(["a", "b"])


class Openings(RuleBasedStateMachine):
    """A ledger, and the openings that it has acknowledged."""

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.opened = []

    def teardown(self):
        shutil.rmtree(self.root)

    def _append(self, part, study, *, again, resume=False):
        folder = self.root / part
        folder.mkdir(exist_ok=True)
        about = {"dataset": "toy", "sealed": part, "split": f"split of {part}"}
        return ledger.append(
            self.root, folder, **about, study=study, purpose="p", again=again, resume=resume
        )

    @rule(part=PARTS, study=STUDIES)
    def open(self, part, study):
        if any(each[0] == part for each in self.opened):
            with pytest.raises(DataError, match="was opened on"):
                self._append(part, study, again=False)
        else:
            assert not self._append(part, study, again=False).again
            self.opened.append((part, study))

    @rule(part=PARTS, study=STUDIES)
    def reopen(self, part, study):
        before = any(each[0] == part for each in self.opened)
        assert self._append(part, study, again=True).again == before
        self.opened.append((part, study))

    @rule(part=PARTS, study=STUDIES)
    def resume(self, part, study):
        mine = [each for each in self.opened if each[0] == part]
        if mine and mine[-1][1] != study:
            with pytest.raises(DataError, match="was opened on"):
                self._append(part, study, again=False, resume=True)
            return
        self._append(part, study, again=False, resume=True)
        if not mine:
            self.opened.append((part, study))

    @rule(share=st.floats(0.1, 0.9))
    def lose_power_while_an_entry_is_written(self, share):
        line = json.dumps({"number": len(self.opened) + 1, "dataset": "toy"})
        with (self.root / ledger.LEDGER).open("a") as file:
            file.write(line[: int(share * len(line))])
        with pytest.raises(DataError, match="is unfinished"):
            ledger.verify(self.root)
        self._append("four", "a", again=True)  # the next opening moves it aside
        self.opened.append(("four", "a"))

    @precondition(lambda self: self.opened)
    @rule(data=st.data())
    def change_a_byte_by_hand(self, data):
        path = self.root / ledger.LEDGER
        before = path.read_bytes()
        place = data.draw(st.integers(0, len(before) - 2))
        changed = bytearray(before)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(DataError):
            ledger.verify(self.root)
        path.write_bytes(before)

    @precondition(lambda self: self.opened)
    @rule()
    def cut_off_the_last_entry(self):
        path = self.root / ledger.LEDGER
        before = path.read_bytes()
        path.write_bytes(b"".join(before.splitlines(keepends=True)[:-1]))
        with pytest.raises(DataError, match="was removed"):
            ledger.verify(self.root)
        path.write_bytes(before)

    @invariant()
    def each_opening_is_there_once_and_in_order(self):
        found = [(entry.sealed, entry.study) for entry in ledger.verify(self.root)]
        assert found == self.opened


TestOpenings = Openings.TestCase
TestOpenings.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)

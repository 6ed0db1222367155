"""A process that trains shows that it does, and one that hangs shows where."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from paths import ROOT

from drmn.experiment.study_layout import STACKS
from drmn.search.executors import heartbeat
from drmn.search.executors.hang_watch import HangWatch
from drmn.search.executors.heartbeat import TrialProcess

TASKS = """
import sys, threading, time
from drmn.search.executors.heartbeat import train

class Fast:
    folder = sys.argv[1]

    def epochs(self, device, leave):
        while True:
            leave()
            time.sleep(0.05)
            yield {"epoch": 1}

class Deadlock:
    folder = sys.argv[1]

    def epochs(self, device, leave):
        leave()
        yield {"epoch": 1}
        lock = threading.Lock()
        with lock:
            self.take_it_again(lock)

    def take_it_again(self, lock):
        lock.acquire()

for epoch in train(globals()[sys.argv[2]](), "cpu", "here", lambda: False):
    print(epoch, flush=True)
"""


@dataclass
class Epochs:
    """A task of two epochs; `seen` has what files there were in each, and between."""

    folder: str
    seen: list

    def epochs(self, device, leave):
        del device
        for epoch in (1, 2):
            leave()
            self.seen += heartbeat.heartbeats(Path(self.folder)).values()
            yield {"epoch": epoch}


def beats(folder):
    return list(heartbeat.heartbeats(Path(folder)))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_there_is_a_heartbeat_in_an_epoch_and_none_between(tmp_path):
    task = Epochs(str(tmp_path), [])
    stream = heartbeat.train(task, "cpu", "a node", lambda: False)
    between = [beats(tmp_path) for _ in stream]
    here = TrialProcess("a node", os.getpid(), psutil.Process().create_time())
    assert [(beat.process, beat.turn) for beat in task.seen] == [(here, 1), (here, 2)]
    assert task.seen[0].touched > 0
    assert between == [[], []]
    assert names(tmp_path) == []


def test_an_epoch_that_raises_leaves_no_heartbeat(tmp_path):
    stream = heartbeat.train(Epochs(str(tmp_path), None), "cpu", "a node", lambda: False)
    with pytest.raises(TypeError):
        next(stream)
    assert names(tmp_path) == []


@contextmanager
def training(folder, task):
    """Run a process that trains one of the tasks above; yield it and the file of its heartbeat."""
    command = [sys.executable, "-c", TASKS, folder, task]
    job = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert job.stdout.readline() == "{'epoch': 1}\n"
    while not beats(folder):
        time.sleep(0.05)
    yield job, beats(folder)[0]
    job.kill()
    job.wait()


@pytest.fixture
def hanging(tmp_path):
    """Return a process in a deadlock, and the file of its heartbeat."""
    with training(tmp_path / "0003", "Deadlock") as found:
        yield found


def test_a_process_that_goes_on_to_another_epoch_when_it_is_continued_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "WRITING_TIMEOUT_S", 1.0)
    with training(tmp_path / "0003", "Fast") as (job, path):
        seen = None
        while seen is None:  # between two epochs there is no heartbeat
            job.send_signal(signal.SIGCONT)
            time.sleep(0.02)
            job.send_signal(signal.SIGSTOP)
            seen = heartbeat.read(path)
        heartbeat.stacks_of(path).unlink()  # for these it is waited a second
        heartbeat.end_hanging(path, seen)
        assert job.poll() is None


@pytest.mark.parametrize("stopped", [False, True], ids=["deadlock", "SIGSTOP"])
def test_a_process_that_hangs_writes_its_stacks_and_is_ended(hanging, stopped):
    job, path = hanging
    if stopped:
        job.send_signal(signal.SIGSTOP)
    heartbeat.end_hanging(path, heartbeat.read(path))
    assert job.wait(30) == -signal.SIGKILL
    (stacks,) = path.parent.glob(STACKS)
    assert "in take_it_again" in stacks.read_text()
    heartbeat.clear(path.parent)
    assert names(path.parent) == [stacks.name]


def test_a_process_with_the_pid_of_an_earlier_one_is_left_alone(hanging):
    job, path = hanging
    now = heartbeat.read(path)
    heartbeat.end_hanging(path, now._replace(process=now.process._replace(created=1.0)))
    assert job.poll() is None


def test_a_process_that_has_made_a_step_meanwhile_is_left_alone(hanging):
    job, path = hanging
    before = heartbeat.read(path)
    os.utime(path)
    heartbeat.end_hanging(path, before)
    assert job.poll() is None


def test_a_process_that_cannot_write_its_stacks_is_ended_all_the_same(hanging, monkeypatch):
    monkeypatch.setattr(heartbeat, "WRITING_TIMEOUT_S", 1.0)
    job, path = hanging
    heartbeat.stacks_of(path).unlink()
    heartbeat.end_hanging(path, heartbeat.read(path))
    assert job.wait(30) == -signal.SIGKILL


def test_a_disk_that_refuses_heartbeats_fails_no_trial(tmp_path):
    (tmp_path / "0000").mkdir()
    here = os.getpid()
    for name in (f"heartbeat-0-{here}.json", f"stacks-0-{here}.txt"):
        (tmp_path / "0000" / name).mkdir()  # no file can be written there
    task = Epochs(str(tmp_path / "0000"), [])
    assert len(list(heartbeat.train(task, "cpu", "a node", lambda: False))) == 2
    heartbeat.clear(tmp_path / "0000")


class Watch(HangWatch):
    """A watch that notes how often it would end a trial's processes."""

    def __init__(self, limit):
        super().__init__(limit)
        self.ended = []

    def _end_all(self, trial_id, waited):
        self.ended.append(len(self.trials[trial_id].pulses))
        pulses, self.trials[trial_id].pulses = self.trials[trial_id].pulses, {}
        super()._end_all(trial_id, waited)
        self.trials[trial_id].pulses = pulses


class Beats:
    """Heartbeat files, touched by hand."""

    def __init__(self, folder):
        self.folder, self.clock, self.turn = folder, 1_000.0, 0

    def start(self, *ranks):
        self.turn += 1
        for rank in ranks:
            self._path(rank).write_text(json.dumps((("node", 7, 1.0), self.turn)))
            os.utime(self._path(rank), (0, 0))

    def step(self, *ranks):
        self.clock += 1
        for rank in ranks:
            os.utime(self._path(rank), (self.clock, self.clock))

    def end(self, *ranks):
        for rank in ranks:
            self._path(rank).unlink()

    def _path(self, rank):
        return self.folder / f"heartbeat-{rank}-7.json"


def watched(tmp_path, limit=60.0):
    watch = Watch(limit)
    watch.on_start("a", tmp_path)
    return watch, Beats(tmp_path)


def look(watch, seconds):
    watch._look("a", seconds)
    return watch.ended


def train_an_epoch(watch, beats, validation=5.0):
    """Make ten steps of a second each, and validate."""
    beats.start(0)
    look(watch, 1.0)
    for _ in range(10):
        beats.step(0)
        look(watch, 1.0)
    look(watch, validation)
    beats.end(0)
    assert look(watch, 1.0) == []


def test_a_trial_without_a_step_hangs_once_the_limit_is_over(tmp_path):
    watch, beats = watched(tmp_path, limit=150.0)
    train_an_epoch(watch, beats)
    beats.start(0)
    look(watch, 1.0)
    beats.step(0)
    look(watch, 1.0)
    assert look(watch, 149.0) == []
    assert look(watch, 2.0) == [1]
    assert watch.hanging["a"].startswith("no step in 151 s")


def test_a_process_that_is_still_there_is_ended_again_and_one_that_steps_is_forgiven(tmp_path):
    watch, beats = watched(tmp_path, limit=150.0)
    train_an_epoch(watch, beats)
    beats.start(0)
    look(watch, 1.0)
    assert look(watch, 160.0) == [1]
    assert look(watch, 59.0) == [1]
    assert look(watch, 2.0) == [1, 1]
    beats.step(0)
    look(watch, 1.0)
    assert list(watch.hanging) == ["a"]  # continued, to write its stacks: it ends within seconds
    look(watch, 60.0)
    assert watch.hanging == {}


def test_a_slow_trial_is_given_a_multiple_of_its_own_longest_pause(tmp_path):
    watch, beats = watched(tmp_path)
    for _ in range(2):
        train_an_epoch(watch, beats, validation=20.0)
    beats.start(0)
    look(watch, 1.0)
    assert look(watch, 390.0) == []
    assert look(watch, 40.0) == [1]


def test_in_its_first_epoch_a_trial_may_copy_data_compile_and_validate_for_longer(tmp_path):
    watch, beats = watched(tmp_path)
    beats.start(0)
    look(watch, 1.0)
    assert look(watch, 350.0) == []
    assert look(watch, 20.0) == [1]


def test_a_first_validation_may_take_as_long_as_the_training_before_it(tmp_path):
    watch, beats = watched(tmp_path)
    beats.start(0)
    look(watch, 1.0)
    for _ in range(200):
        beats.step(0)
        look(watch, 2.0)
    assert look(watch, 780.0) == []
    assert look(watch, 30.0) == [1]


def test_a_resumed_trial_that_repeats_its_last_result_has_not_made_an_epoch(tmp_path):
    watch, beats = watched(tmp_path)
    beats.start(0)
    look(watch, 3.0)
    beats.end(0)
    look(watch, 1.0)
    beats.start(0)
    look(watch, 1.0)
    assert look(watch, 350.0) == []  # as in any first epoch


def test_a_group_hangs_when_none_of_its_workers_makes_a_step(tmp_path):
    watch, beats = watched(tmp_path)
    beats.start(0, 1)
    look(watch, 1.0)
    for _ in range(400):
        beats.step(1)
        assert look(watch, 1.0) == []
    assert look(watch, 810.0) == [2]


def test_a_trial_that_waits_for_its_turn_does_not_hang(tmp_path):
    watch, _ = watched(tmp_path)
    assert look(watch, 10_000.0) == []


def test_what_killed_processes_left_is_not_watched(tmp_path):
    Beats(tmp_path).start(0)
    watch, _ = watched(tmp_path)
    assert names(tmp_path) == []
    (tmp_path / "heartbeat-0-7.json").touch()  # by a process that does not know that it is over
    look(watch, 1.0)
    assert look(watch, 10_000.0) == []

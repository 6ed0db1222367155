"""A process that trains shows that it does, and one that hangs shows where."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from conftest import ROOT

from drmn.experiment.study_layout import STACKS
from drmn.search.executors import heartbeat
from drmn.search.executors.hang_watch import HangWatch
from drmn.search.executors.heartbeat import TrialProcess

HANGING = """
import sys, threading
from pathlib import Path
from drmn.search.executors.heartbeat import train

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

for epoch in train(Deadlock(), "cpu", "here", lambda: False):
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
            self.seen.append([heartbeat.read(path) for path in beats(self.folder)])
            yield {"epoch": epoch}


def beats(folder):
    return heartbeat.heartbeats(Path(folder))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_there_is_a_heartbeat_in_an_epoch_and_none_between(tmp_path):
    task = Epochs(str(tmp_path), [])
    stream = heartbeat.train(task, "cpu", "a node", lambda: False)
    between = [beats(tmp_path) for _ in stream]
    here = TrialProcess("a node", os.getpid(), psutil.Process().create_time())
    assert task.seen == [[here], [here]]
    assert between == [[], []]
    assert names(tmp_path) == []


def test_an_epoch_that_raises_leaves_no_heartbeat(tmp_path):
    stream = heartbeat.train(Epochs(str(tmp_path), None), "cpu", "a node", lambda: False)
    with pytest.raises(AttributeError):
        next(stream)
    assert names(tmp_path) == []


@pytest.fixture
def hanging(tmp_path):
    """Return a process in a deadlock, and the file of its heartbeat."""
    folder = tmp_path / "0003"
    job = subprocess.Popen(
        [sys.executable, "-c", HANGING, folder], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert job.stdout.readline() == "{'epoch': 1}\n"
    while not beats(folder):
        time.sleep(0.05)
    yield job, beats(folder)[0]
    job.kill()
    job.wait()


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
    earlier = heartbeat.read(path)._replace(created=1.0)
    heartbeat.end_hanging(path, earlier)
    assert job.poll() is None


class Watch(HangWatch):
    """A watch that notes which processes it would end."""

    def __init__(self, limit):
        super().__init__(limit)
        self.ended = []

    def _end_all(self, trial_id, paths, waited):
        super()._end_all(trial_id, [], waited)
        self.ended += [path.name for path in paths]


class Beats:
    """Heartbeat files, touched by hand."""

    def __init__(self, folder):
        self.folder, self.clock = folder, 1_000.0

    def beat(self, *ranks):
        self.clock += 1
        for rank in ranks:
            path = self.folder / f"heartbeat-{rank}-7.json"
            path.write_text("[]")
            os.utime(path, (self.clock, self.clock))


def watched(tmp_path, limit=60.0):
    watch = Watch(limit)
    watch.on_start("a", tmp_path)
    return watch, Beats(tmp_path)


def look(watch, seconds):
    watch._look("a", seconds)
    return watch.ended


def test_a_trial_without_a_step_hangs_once_the_limit_is_over(tmp_path):
    watch, beats = watched(tmp_path)
    for _ in range(5):
        beats.beat(0)
        look(watch, 1.0)
    assert look(watch, 59.0) == []
    assert look(watch, 2.0) == ["heartbeat-0-7.json"]
    assert watch.hanging["a"].startswith("no step in 61 s")


def test_a_slow_trial_is_given_a_multiple_of_its_own_longest_pause(tmp_path):
    watch, beats = watched(tmp_path)
    for _ in range(2):  # an epoch, of one step and a validation of 20 s
        beats.beat(0)
        look(watch, 1.0)
        look(watch, 20.0)
        (tmp_path / "heartbeat-0-7.json").unlink()
        look(watch, 1.0)
    beats.beat(0)
    look(watch, 1.0)
    assert look(watch, 300.0) == []
    assert look(watch, 200.0) != []


def test_a_first_validation_may_take_as_long_as_the_training_before_it(tmp_path):
    watch, beats = watched(tmp_path)
    for _ in range(100):
        beats.beat(0)
        look(watch, 2.0)
    assert look(watch, 200.0) == []
    assert look(watch, 250.0) != []


def test_before_its_first_step_a_trial_may_copy_data_and_compile(tmp_path):
    watch, beats = watched(tmp_path)
    beats.beat(0)
    look(watch, 1.0)
    assert look(watch, 300.0) == []
    assert look(watch, 100.0) != []


def test_a_group_hangs_when_none_of_its_workers_makes_a_step(tmp_path):
    watch, beats = watched(tmp_path)
    for _ in range(3):
        beats.beat(0, 1)
        look(watch, 1.0)
    for _ in range(100):
        beats.beat(1)
        assert look(watch, 1.0) == []
    assert look(watch, 250.0) == ["heartbeat-0-7.json", "heartbeat-1-7.json"]


def test_a_trial_that_waits_for_its_turn_does_not_hang(tmp_path):
    watch, _ = watched(tmp_path)
    assert look(watch, 10_000.0) == []


def test_what_killed_processes_left_is_not_watched(tmp_path):
    beats = Beats(tmp_path)
    beats.beat(0)
    watch, _ = watched(tmp_path)
    assert look(watch, 10_000.0) == []
    assert names(tmp_path) == []

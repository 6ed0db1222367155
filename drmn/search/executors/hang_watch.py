"""Watch for trials that hang: no step is made, and no error comes.

A process that makes no step for long is ended, after it has written the stacks of its threads. The
trial then looks like any that lost its process.
"""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from drmn.experiment.study_layout import STACKS
from drmn.search.executors import heartbeat
from drmn.search.executors.heartbeat import Heartbeat, TrialProcess
from drmn.search.executors.memory_fault import OomKills

POLL_INTERVAL_S = 1.0
"""Seconds between two looks at the heartbeats."""
MAX_COUNTED_S = 5.0
"""Most seconds that count between two looks: a driver that waits for a disk looks at nothing."""
PACE = 20
"""A trial hangs when a step takes so many times its longest pause, once that is above the limit."""
FIRST_EPOCH = 6
"""In its first epoch after a start a trial is given so many times as long: data are copied, code is
compiled, and how long validation takes is not known yet."""
RETRY_S = 60.0
"""Seconds after which a process that was to be ended and is still there is ended again."""

log = logging.getLogger(__name__)


@dataclass
class _Pulse:
    """What is known of a process's heartbeat in an epoch."""

    beat: Heartbeat
    waited: float = 0.0
    """Seconds since it was last touched, in the driver's clock."""
    longest: float = 0.0
    """Longest pause between two touches."""
    trained: float = 0.0
    """Seconds up to its last step."""

    def observe(self, beat: Heartbeat, passed: float) -> None:
        """Compare the heartbeat with that of `passed` seconds ago."""
        self.waited += passed
        if beat != self.beat:
            self.longest = max(self.longest, self.waited)
            self.trained += self.waited
            self.beat, self.waited = beat, 0.0


@dataclass
class _Trial:
    folder: Path
    epochs: int = 0
    """Epochs that ended since it was started."""
    longest: float = 0.0
    """Longest pause of any of its processes, over these epochs."""
    pulses: dict[tuple[Path, int], _Pulse] = field(default_factory=dict)
    ended_ago: float | None = None
    """Seconds since its processes were to be ended; None if they were not."""

    def look(self, passed: float) -> None:
        """Read the heartbeats."""
        found = {(path, b.turn): b for path, b in heartbeat.heartbeats(self.folder).items()}
        for key, beat in found.items():
            self.pulses.setdefault(key, _Pulse(beat)).observe(beat, passed)
        for key in self.pulses.keys() - found.keys():  # its epoch has ended
            pulse = self.pulses.pop(key)
            if pulse.beat.touched:  # a resumed trial repeats its last epoch's result: no step
                self.epochs += 1
                self.longest = max(self.longest, pulse.longest, pulse.waited)

    def late(self, limit: float) -> float:
        """Return the seconds that all its processes have waited, if that is too long; or 0."""
        allowed = limit * (1 if self.epochs else FIRST_EPOCH)
        late = [
            pulse.waited
            for pulse in self.pulses.values()
            if pulse.waited
            > max(allowed, PACE * max(self.longest, pulse.longest), 2 * pulse.trained)
        ]
        return min(late) if late and len(late) == len(self.pulses) else 0.0


class HangWatch(tune.Callback):
    """Finds trials whose processes make no progress, and ends these processes.

    Args:
        limit: Seconds without a step, at least, after which a trial is taken to hang; 0 for never.
    """

    def __init__(self, limit: float) -> None:
        self.limit, self.looked = limit, time.monotonic()
        self.kills = OomKills()
        self.trials: dict[str, _Trial] = {}
        self.hanging: dict[str, str] = {}
        """Why the processes of trials were ended, by the trials' ids."""
        self._end = ray.remote(num_cpus=0, max_retries=0)(heartbeat.end_hanging)

    def __getstate__(self) -> dict[str, Any]:
        """Leave Tune's snapshots empty."""
        return {}

    def on_start(self, trial_id: str, folder: Path) -> None:
        """Watch a trial that starts, or resumes."""
        heartbeat.clear(folder)
        self.trials[trial_id] = _Trial(folder)

    def on_end(self, trial_id: str) -> None:
        """Watch a trial no more."""
        if (trial := self.trials.pop(trial_id, None)) is not None:
            heartbeat.clear(trial.folder)
        self.hanging.pop(trial_id, None)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Look at the heartbeats, in each turn of Tune's loop."""
        del iteration, trials, info
        passed = time.monotonic() - self.looked
        if passed < POLL_INTERVAL_S:
            return
        self.looked += passed
        self.kills.look()
        for trial_id in self.trials if self.limit else ():
            self._look(trial_id, min(passed, MAX_COUNTED_S))

    def _look(self, trial_id: str, passed: float) -> None:
        trial = self.trials[trial_id]
        trial.look(passed)
        waited = trial.late(self.limit)
        if trial.ended_ago is not None:
            trial.ended_ago += passed
            if trial.ended_ago < RETRY_S:
                return  # one that was stopped is continued to write its stacks, and makes steps
        if waited:
            self._end_all(trial_id, waited)
        elif trial.ended_ago is not None and trial.pulses:  # it has gone on, and was left alone
            trial.ended_ago = None
            self.hanging.pop(trial_id, None)

    def _end_all(self, trial_id: str, waited: float) -> None:
        trial = self.trials[trial_id]
        if trial.ended_ago is None:
            log.warning(
                "%s: no step in %.0f s: its process is ended and the trial resumes; the stacks of "
                "its threads are in %s.",
                *(trial.folder, waited, STACKS),
            )
        trial.ended_ago = 0.0
        self.hanging[trial_id] = f"no step in {waited:.0f} s ({trial.folder}/{STACKS})"
        for (path, _), pulse in trial.pulses.items():
            where = _on(pulse.beat.process)
            self._end.options(scheduling_strategy=where).remote(path, pulse.beat)


def _on(process: TrialProcess) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(process.node, soft=False)

"""Watch for trials that hang: no step is made, and no error comes.

A process that makes no step for long is ended, after it has written the stacks of its threads. The
trial then looks like any that lost its process.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from drmn.experiment.study_layout import STACKS
from drmn.search.executors import heartbeat
from drmn.search.executors.heartbeat import TrialProcess

POLL_INTERVAL_S = 1.0
"""Seconds between two looks at the heartbeats."""
MAX_COUNTED_S = 5.0
"""Most seconds that count between two looks: a driver that waits for a disk looks at nothing."""
PACE = 20
"""A trial hangs when a step takes so many times its longest pause, once that is above the limit."""
SETUP = 6
"""Before the first step a trial is given so many times as long: data is copied, code compiled."""

log = logging.getLogger(__name__)


@dataclass
class _Pulse:
    """What is known of a process's heartbeat."""

    touched: float
    """When the file was last touched, in its own clock: it is only compared with itself."""
    waited: float = 0.0
    """Seconds since then, in the driver's clock."""
    longest: float = 0.0
    """Longest pause between two touches."""
    trained: float = 0.0
    """Seconds of the first epoch up to its last step: its validation takes no longer than that."""

    def allowed(self, limit: float) -> float:
        """Return the seconds after which the process is taken to hang."""
        if not self.trained and not self.longest:
            return SETUP * limit
        return max(limit, PACE * self.longest, 2 * self.trained)


@dataclass
class _Trial:
    folder: Path
    epochs: int = 0
    longest: float = 0.0
    """Longest pause of any of its processes, over all epochs."""
    pulses: dict[Path, _Pulse] = field(default_factory=dict)


class HangWatch(tune.Callback):
    """Finds trials whose processes make no progress, and ends these processes.

    Args:
        limit: Seconds without a step, at least, after which a trial is taken to hang; 0 for never.
    """

    def __init__(self, limit: float) -> None:
        self.limit, self.looked = limit, time.monotonic()
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
        if not self.limit or passed < POLL_INTERVAL_S:
            return
        self.looked += passed
        for trial_id in self.trials.keys() - self.hanging.keys():
            self._look(trial_id, min(passed, MAX_COUNTED_S))

    def _look(self, trial_id: str, passed: float) -> None:
        trial = self.trials[trial_id]
        found = {path: _touched(path) for path in heartbeat.heartbeats(trial.folder)}
        for path, touched in found.items():
            if path not in trial.pulses:
                trial.pulses[path] = _Pulse(touched, longest=trial.longest)
            _observe(trial.pulses[path], touched, passed, first=trial.epochs == 0)
        for path in trial.pulses.keys() - found.keys():  # an epoch has ended
            pulse = trial.pulses.pop(path)
            trial.epochs += 1
            trial.longest = max(trial.longest, pulse.longest, pulse.waited)
        late = [each for each in trial.pulses.values() if each.waited > each.allowed(self.limit)]
        if late and len(late) == len(trial.pulses):
            self._end_all(trial_id, trial.pulses, min(each.waited for each in late))

    def _end_all(self, trial_id: str, paths: Iterable[Path], waited: float) -> None:
        folder = self.trials[trial_id].folder
        self.hanging[trial_id] = f"no step in {waited:.0f} s ({folder}/{STACKS})"
        log.warning(
            "%s: no step in %.0f s: its process is ended and the trial resumes; the stacks of its "
            "threads are in %s.",
            *(folder, waited, STACKS),
        )
        for path in paths:
            if (process := heartbeat.read(path)) is not None:
                self._end.options(scheduling_strategy=_on(process)).remote(path, process)


def _observe(pulse: _Pulse, touched: float, passed: float, *, first: bool) -> None:
    pulse.waited += passed
    if touched != pulse.touched:
        pulse.longest = max(pulse.longest, pulse.waited)
        pulse.trained += pulse.waited if first else 0.0
        pulse.touched, pulse.waited = touched, 0.0


def _touched(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # the epoch has just ended
        return 0.0


def _on(process: TrialProcess) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(process.node, soft=False)

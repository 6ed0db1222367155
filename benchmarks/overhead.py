"""What a trial costs that does nothing: our three engines beside what Ray offers.

Seconds are those between the ends of two trials, CPU seconds those of all processes, both once
warm and of one trial at a time. The record, the sampler and the callbacks are at work in ours. Then
2,000 trials in one search: does the driver grow, does a trial cost the more the more there were?
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import ray
from bars import Bar, arguments, finish
from cpu_meter import Meter
from ray import tune
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer

from drmn.cluster.connect import ray_session
from drmn.cluster.resources import BackendName, ResourceConfig
from drmn.config import RunConfig
from drmn.experiment.trial_task import TrialTask
from drmn.metric_names import COST
from drmn.search.callbacks.base import Callback
from drmn.search.config import PolicyConfig
from drmn.search.executors.config import ExecutorConfig
from drmn.search.executors.tune_executor import execute
from drmn.search.storage.studies import open_study
from drmn.search.study.ask_tell import AskTellStudy
from drmn.search.trial_summary import TrialSummary
from drmn.space import Constants, Trial
from drmn.training.stop import ShouldStop

WARM, FEW = 3, 3
"""Trials that are not counted, the first processes start in them, and those that are; where each
begins processes of its own."""
LONG_WARM, MANY = 30, 60
"""The same where processes are used again: what Ray begins beside a group, a callback of machines
that go, takes 1.5 CPU-s in the first seconds."""
SETTLED = 100
"""Trials of the long search after which memory is looked at first: caches have filled by then."""


class Idle(TrialTask):
    """A trial of one epoch that does nothing."""

    def epochs(self, device: str, leave: ShouldStop) -> Iterator[dict[str, Any]]:
        """Yield an epoch."""
        del device, leave
        yield {"epoch": 1, "metrics": {self.objective: 0.5, COST: 0.0}}


@dataclass
class Clock(Callback):
    """Notes when trials end, and what all processes have used by then."""

    warm: int
    """The first trials, which are not counted."""
    ends: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    meter: Meter | None = None

    def on_trial_end(self, row: TrialSummary) -> None:
        """Note a trial's end."""
        del row
        self.note()

    def note(self) -> None:
        """Note the end of a trial."""
        self.ends.append(time.monotonic())
        if self.meter is not None:
            self.used.append(self.meter.total())
        self.memory.append(psutil.Process().memory_info().rss)

    def between(self) -> list[float]:
        """Return the seconds from each trial's end to the next, once warm."""
        return [
            b - a for a, b in zip(self.ends[self.warm :], self.ends[self.warm + 1 :], strict=False)
        ]

    def cpu_a_trial(self) -> float:
        """Return CPU seconds of all processes a trial, once warm."""
        return (self.used[-1] - self.used[self.warm]) / (len(self.used) - 1 - self.warm)


def space(trial: Trial) -> Constants:
    """Ask for what a search of two settings would."""
    trial.suggest_float("optim.lr", 1e-4, 1e-2, log=True)
    trial.suggest_float("loss.global_branch", 0.1, 10.0, log=True)
    return {"optim.epochs": 1, "model.sit": "none"}


def ours(name: BackendName, warm: int, counted: int, *, cpu: bool = True) -> Clock:
    """Run trials that do nothing through one of our engines."""
    trials = 1 + warm + counted
    with tempfile.TemporaryDirectory() as folder, ray_session(), Meter() as meter:
        clock = Clock(warm, meter=meter if cpu else None)
        opened = open_study(Path(folder), {})
        study = AskTellStudy(opened, space, RunConfig(), PolicyConfig(pruner="none"))
        work = ExecutorConfig(
            store=Path(folder),
            folder=Path(folder),
            may_start=lambda: study.record.count < trials,
            may_go_on=lambda: False,
            resources=ResourceConfig(backend=name),
            at_once=1,
            kind=Idle,
            callbacks=[clock],
        )
        execute(study, work)
    return clock


class Noting(tune.Callback):
    """Notes the end of each of Tune's trials."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's snapshots nothing: a thread's lock cannot be pickled."""
        return {}

    def on_trial_complete(self, *args: Any, **more: Any) -> None:
        """Note a trial's end."""
        del args, more
        self.clock.note()


def function(config: Mapping[str, Any]) -> None:
    """Do nothing, as a function of Tune's."""
    del config
    tune.report({"value": 0.5})


def nested(config: Mapping[str, Any]) -> None:
    """Do nothing, as a TorchTrainer of one worker inside a function of Tune's."""
    del config
    os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
    TorchTrainer(
        lambda: ray.train.report({"value": 0.5}), scaling_config=ScalingConfig(num_workers=1)
    ).fit()
    tune.report({"value": 0.5})


def tunes(
    trainable: Callable[[Mapping[str, Any]], None], warm: int, counted: int, *, reuse: bool
) -> Clock:
    """Run trials that do nothing through Ray Tune alone."""
    # The trainer inside asks for the core; what waits for it must leave it one.
    held = tune.with_resources(trainable, {"CPU": 0.01 if trainable is nested else 1})
    with tempfile.TemporaryDirectory() as folder, ray_session(), Meter() as meter:
        clock = Clock(warm, meter=meter)
        tune.Tuner(
            held,
            tune_config=tune.TuneConfig(
                num_samples=1 + warm + counted, max_concurrent_trials=1, reuse_actors=reuse
            ),
            run_config=tune.RunConfig(
                storage_path=folder, verbose=0, callbacks=[Noting(clock)], name="peer"
            ),
        ).fit()
    return clock


def main() -> None:
    """Run all, one after another."""
    asked = arguments(__doc__ or "")
    warm, many = (8, 10) if asked.quick else (LONG_WARM, MANY)
    made = {
        "inproc": ours("inproc", warm, many),
        "pool": ours("pool", warm, many),
        "trial": ours("trial", WARM, FEW),
        "Tune function, new process": tunes(function, WARM, FEW, reuse=False),
        "Tune function, reused": tunes(function, warm, many, reuse=True),
        "TorchTrainer in Tune": tunes(nested, WARM, FEW, reuse=False),
    }
    gaps = {name: statistics.median(clock.between()) for name, clock in made.items()}
    figures: dict[str, object] = {
        name: f"{gap:.3f} s between trials, {made[name].cpu_a_trial():.3f} CPU-s a trial"
        for name, gap in gaps.items()
    }
    for name, gap in gaps.items():
        print(f"{name}: {gap:.3f} s", file=sys.stderr, flush=True)
    dear = made["TorchTrainer in Tune"].cpu_a_trial()
    bars = [
        Bar(f"{name}, s between trials", gaps[name], 0.1, least=False)
        for name in ("inproc", "pool")
    ]
    bars += [
        Bar(f"TorchTrainer in Tune / {name}, CPU", dear / made[name].cpu_a_trial(), 100)
        for name in ("inproc", "pool")
    ]
    more, limits = long_search(60 if asked.quick else 2000)
    finish(figures | more, bars + limits, asked.json)


def long_search(count: int) -> tuple[dict[str, object], list[Bar]]:
    """Return the driver's growth in a search of so many trials, and how long its last ones take."""
    clock = ours("inproc", WARM, count - WARM - 1, cpu=False)
    gaps = clock.between()
    part = len(gaps) // 4
    first, last = statistics.median(gaps[:part]), statistics.median(gaps[-part:])
    start = min(SETTLED, count // 2)
    grown = (clock.memory[-1] - clock.memory[start]) / (count - start) / 1e3
    name = f"{count} trials, s between trials, first and last quarter"
    return {name: f"{first:.3f}, {last:.3f}"}, [
        Bar(f"{count} trials, kB of memory a trial", grown, 20, least=False),
        Bar(f"{count} trials, last quarter / first", last / first, 1.5, least=False),
    ]


if __name__ == "__main__":
    main()

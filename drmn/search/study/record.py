"""The record of a study: an Optuna study in a database, written by one process.

It holds all that is known: settings, each epoch's metrics, states and causes. Ray executes and
MLflow shows; both can be lost. A driver that opens the record resumes from it.
"""

import math
import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from drmn.config import RunConfig
from drmn.experiment.identity import FREE
from drmn.fields import flatten
from drmn.metric_names import AT, Metrics
from drmn.search.storage.trial_cache import TrialCache
from drmn.search.trial_summary import (
    CHECKPOINT,
    DROPPED,
    EPOCH,
    FINETUNES,
    FIRST_MICRO_BATCH,
    HUNG,
    LOST,
    MEMORY,
    MOVED,
    TrialSpec,
    TrialSummary,
    best_trial,
    bests,
    summarize,
)
from drmn.space import settings

MIN_MICRO_BATCH = 2
"""Fewest images of a forward pass: batch statistics need two."""
PASSED = "passed"
"""User attribute: the last rung that a trial has passed."""


class StudyRecord:
    """Trials, epochs, states and causes of a study that this process writes.

    Args:
        study: The Optuna study, new or not.
        base: Settings that the space leaves alone.
        objective: The metric that is a trial's value.
        max_failures: How often a trial may lose its workers before it fails.
    """

    def __init__(
        self, study: optuna.Study, base: RunConfig, objective: str, max_failures: int = 3
    ) -> None:
        self.study, self.base, self.objective = study, base, objective
        self.max_failures = max_failures
        self._finished: dict[int, TrialSummary] = {}
        self._cache = TrialCache(study, flatten(base))
        self.dropped: set[int] = set(study.user_attrs.get(DROPPED, []))
        """Trials whose best epoch's file was removed."""
        self.interrupted = [
            trial.number for trial in self._cache.all() if trial.state == TrialState.RUNNING
        ]
        """Trials whose process or driver died: they run before any new one."""

    @property
    def count(self) -> int:
        """The number of trials that were started, in any state."""
        return len(self._cache.all())

    def trials(self) -> list[FrozenTrial]:
        """Return all trials that have settings, as Optuna has them."""
        return [trial for trial in self._cache.all() if "settings" in trial.user_attrs]

    def chosen(self) -> list[FrozenTrial]:
        """Return the trials whose settings were chosen, not taken from another trial."""
        return [trial for trial in self._cache.all() if FINETUNES not in trial.user_attrs]

    def trial(self, number: int) -> FrozenTrial:
        """Return a trial as Optuna has it."""
        return self._cache.all()[number]

    def trial_summaries(self) -> list[TrialSummary]:
        """Return all trials that have settings, in the order they were asked for."""
        return [self._summary(trial) for trial in self.trials()]

    def trial_summary(self, number: int) -> TrialSummary:
        """Return one trial."""
        return self._summary(self.trial(number))

    def _summary(self, trial: FrozenTrial) -> TrialSummary:
        if trial.number in self._finished:
            return self._finished[trial.number]
        found = summarize(trial, self.dropped)
        if trial.state.is_finished():  # nothing changes any more
            self._finished[trial.number] = found
        return found

    def best(self) -> TrialSummary | None:
        """Return the complete trial of the highest value; of equals the first."""
        return best_trial(self.trial_summaries())

    def spec(self, number: int) -> TrialSpec:
        """Return a recorded trial as it is to be run."""
        trial = self.trial(number)
        recorded: Mapping[str, Any] = trial.user_attrs["settings"]
        kept = {name: value for name, value in recorded.items() if name not in FREE}
        return TrialSpec(number, settings(self.base, kept, trial.params), trial.params)

    def add(self, asked: Trial | FrozenTrial, run: RunConfig) -> TrialSpec:
        """Record a new trial in one write: the driver may die at any moment."""
        attributes = {"settings": flatten(run)}
        return self.spec(self._cache.add(TrialState.RUNNING, asked, attributes))

    def add_failed(self, asked: Trial, cause: str) -> None:
        """Record a point of the space that is no valid run."""
        self._cache.add(TrialState.FAIL, asked, {"cause": cause})

    def add_finetune(self, number: int) -> TrialSpec:
        """Record a trial that trains the settings of another in the fine-tuned tier."""
        trial = self.trial(number)
        found = trial.user_attrs["settings"] | {"tier": "finetuned"}
        attributes = {"settings": found, FINETUNES: number}
        return self.spec(self._cache.add(TrialState.RUNNING, trial, attributes))

    def add_epoch(
        self,
        number: int,
        epoch: int,
        metrics: Metrics,
        checkpoint: Mapping[str, Any] = MappingProxyType({}),
    ) -> float:
        """Record an epoch; return the trial's best value up to it.

        An epoch that is there already is left as it is: a trial that lost its process repeats its
        last one.

        Args:
            number: Number of the trial.
            epoch: From 1.
            metrics: All finite.
            checkpoint: Checkpoint of the best epoch so far: its `epoch`, `sha256` and `bytes`.
        """
        values = dict(self.trial(number).intermediate_values)
        trial = self._cache.live(number)
        if epoch not in values:
            values[epoch] = metrics[self.objective]
            trial.set_user_attr(f"{EPOCH}{epoch}", {**metrics, AT: time.time()})
            trial.report(values[epoch], epoch)
        if "sha256" in checkpoint and trial.user_attrs.get(CHECKPOINT) != checkpoint:
            trial.set_user_attr(CHECKPOINT, dict(checkpoint))
        return bests(values)[epoch]

    def passed(self, number: int) -> int:
        """Return the last rung that a trial has passed; 0 for none."""
        return int(self.trial(number).user_attrs.get(PASSED, 0))

    def note_passed(self, number: int, rung: int) -> None:
        """Note that a trial has passed a rung: it is not judged there again."""
        self._cache.live(number).set_user_attr(PASSED, rung)

    def complete(self, number: int) -> None:
        """End a trial that has trained all its epochs."""
        value = max(self.trial(number).intermediate_values.values())
        self._cache.live(number)
        self.study.tell(number, value)

    def prune(self, number: int, cause: str) -> None:
        """End a trial that the pruner stops."""
        self._cache.live(number).set_user_attr("cause", cause)
        self.study.tell(number, state=TrialState.PRUNED)

    def fail(self, number: int, cause: str) -> None:
        """End a trial as failed; it can never win."""
        self._cache.live(number).set_user_attr("cause", cause)
        self.study.tell(number, state=TrialState.FAIL)

    def drop(self, numbers: Iterable[int]) -> None:
        """Record that checkpoints of finished trials are removed; call it before removing them."""
        self.dropped.update(numbers)
        self._finished.clear()
        self.study.set_user_attr(DROPPED, sorted(self.dropped))

    def requeue(self, number: int, loss: str = LOST) -> bool:
        """Note that a trial lost its process; return whether it may run again.

        A lost machine (`MOVED`), or one whose disk was full, does not count against it: spot
        instances are preempted all the time. One that hangs or runs out of memory (`HUNG`,
        `MEMORY`) may run again once.
        """
        trial = self._cache.live(number)
        times = int(trial.user_attrs.get(loss, 0)) + 1
        trial.set_user_attr(loss, times)
        if loss != MOVED and times > (self.max_failures if loss == LOST else 1):
            return False
        self.interrupted.append(number)
        return True

    def requeue_smaller(self, number: int, workers: int) -> int:
        """Note that a trial ran out of memory; return the micro-batch that it resumes with.

        It is half of what a worker has taken at a time; the batch remains. 0 if the trial may not
        run again: it has run out of memory before, or there is nothing to halve.
        """
        found: dict[str, Any] = self.trial(number).user_attrs["settings"]
        share = found["optim.batch_size"] // workers
        half = min(found["compute.micro_batch"] or share, share) // 2
        if half < MIN_MICRO_BATCH or not self.requeue(number, MEMORY):
            return 0
        trial = self._cache.live(number)
        first = trial.user_attrs.get(FIRST_MICRO_BATCH, found["compute.micro_batch"])
        trial.set_user_attr(FIRST_MICRO_BATCH, first)
        trial.set_user_attr("settings", found | {"compute.micro_batch": half})
        return half

    def forgive(self, number: int) -> None:
        """Forget how often a trial lost its process: a user starts it again."""
        trial = self._cache.live(number)
        for loss in (LOST, HUNG, MEMORY):
            trial.set_user_attr(loss, 0)


def not_finite(metrics: Metrics) -> str:
    """Return the name of a metric that is NaN or infinite; empty if all are finite."""
    bad = [name for name, value in metrics.items() if not math.isfinite(value)]
    return bad[0] if bad else ""

"""A trial as the record has it, read from Optuna's trial."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial

from drmn.config import RunConfig
from drmn.metric_names import AT, COST, Metrics, without_costs

EPOCH = "epoch/"
"""User attributes `epoch/3` hold an epoch's metrics: Optuna keeps but one value a step."""
STARTED = "begun"
"""The study's attribute: when it was started, in seconds since 1970."""
METADATA = "about"
"""The study's attribute: its metadata for MLflow (`drmn.search.callbacks.study_metadata`)."""
ENDED = "ended"
"""The study's attribute: why its last start ended."""
FINAL = "final"
"""The study's attribute: what its page in MLflow says of its report, once it is finalized."""
MODELS = "models"
"""The study's attribute: the event of its models, where they are not its trials' packages."""
RUNS = "mlflow_runs"
"""The study's attribute: MLflow's run ids by our own keys, as far as they are known."""
FINETUNES = "again"
"""User attribute: the trial whose settings this one trains again, in the finetuned tier."""
MOVED, LOST, HUNG, MEMORY = "moved", "interrupted", "hung", "out_of_memory"
"""User attributes: how often a trial lost its machine, or was preempted; lost its process on a
machine that stayed; had it ended, as it made no step for long; ran out of memory."""
MICRO_BATCH = "compute.micro_batch"
FIRST_MICRO_BATCH = "first_micro_batch"
"""User attribute: the micro-batch of a trial before it was out of memory."""
LOSSES = (MOVED, LOST, HUNG, MEMORY)
CHECKPOINT = "checkpoint"
"""User attribute: the best epoch's file, by epoch, SHA-256 and bytes."""
RANKED = ("COMPLETE", "PRUNED")
"""States of the trials that can be a study's best."""
DROPPED = "dropped"
"""The study's attribute: trials whose file was removed. Optuna changes no finished trial."""


@dataclass(frozen=True, slots=True)
class TrialSummary:
    """A trial as the record has it."""

    number: int
    state: str
    """RUNNING, COMPLETE, PRUNED or FAIL."""
    cause: str
    """Why it was pruned or failed; empty otherwise."""
    epochs: int
    value: float | None
    """The objective at the best epoch, whatever the state; None without an epoch."""
    best_epoch: int
    metrics: Metrics
    """Metrics of the best epoch."""
    settings: Mapping[str, Any]
    params: Mapping[str, Any]
    seconds: float = 0.0
    """Seconds of its epochs, training and validation."""
    again: int | None = None
    """The trial whose settings it trains again with a fine-tuned backbone."""
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    """The best epoch's file: `epoch`, `sha256`, `bytes`; empty without one."""
    dropped: bool = False
    """Whether that file was removed, for `--budget.checkpoint-mb`."""
    started: float = 0.0
    """When it started, in seconds since 1970."""
    ended: float = 0.0
    """When it ended; 0 while it runs."""
    first_micro_batch: int | None = None
    """The micro-batch that it was started with, if it was out of memory."""
    losses: Mapping[str, int] = field(default_factory=dict)
    """How often it lost its process, by `MOVED`, `LOST`, `HUNG` and `MEMORY`."""

    @property
    def started_with(self) -> Mapping[str, Any]:
        """The settings that it was started with: MLflow's params, which cannot change."""
        if self.first_micro_batch is None:
            return self.settings
        return {**self.settings, MICRO_BATCH: self.first_micro_batch}

    @property
    def loss_tags(self) -> dict[str, str]:
        """Tags that say how it lost its process, and what it was retried with."""
        tags = {f"losses.{name}": str(times) for name, times in self.losses.items()}
        if self.first_micro_batch is not None:
            tags[f"retried.{MICRO_BATCH}"] = str(self.settings[MICRO_BATCH])
        return tags


def epochs(trial: FrozenTrial) -> dict[int, Metrics]:
    """Return the metrics of each epoch of a recorded trial, its costs among them."""
    return {
        epoch: {name: value for name, value in recorded.items() if name != AT}
        for epoch, recorded in _epoch_attributes(trial).items()
    }


def times(trial: FrozenTrial) -> dict[int, float]:
    """Return when each epoch of a trial was recorded, in seconds since 1970."""
    return {epoch: recorded.get(AT, 0.0) for epoch, recorded in _epoch_attributes(trial).items()}


def _epoch_attributes(trial: FrozenTrial) -> dict[int, Metrics]:
    named = {k: v for k, v in trial.user_attrs.items() if k.startswith(EPOCH)}
    return {int(key.removeprefix(EPOCH)): value for key, value in named.items()}


def bests(values: Mapping[int, float]) -> dict[int, float]:
    """Return the best value so far at each epoch of a trial, from the value of each."""
    best, so_far = -math.inf, {}
    for epoch, value in sorted(values.items()):
        best = max(best, value)
        so_far[epoch] = best
    return so_far


def summarize(trial: FrozenTrial, dropped: Collection[int] = ()) -> TrialSummary:
    """Return a recorded trial that has settings as a row; `dropped` have no checkpoint any more."""
    values = trial.intermediate_values
    best = max(values, key=lambda epoch: (values[epoch], -epoch), default=0)
    return TrialSummary(
        number=trial.number,
        state=trial.state.name,
        cause=trial.user_attrs.get("cause", ""),
        epochs=max(values, default=0),
        value=values.get(best),
        best_epoch=best,
        metrics=without_costs(epochs(trial).get(best, {})),
        settings=trial.user_attrs["settings"],
        params=trial.params,
        again=trial.user_attrs.get(FINETUNES),
        seconds=sum(each.get(COST, 0.0) for each in epochs(trial).values()),
        checkpoint=trial.user_attrs.get(CHECKPOINT, {}),
        dropped=trial.number in dropped,
        started=_seconds(trial.datetime_start),
        ended=_seconds(trial.datetime_complete),
        first_micro_batch=trial.user_attrs.get(FIRST_MICRO_BATCH),
        losses={k: v for k in LOSSES if (v := trial.user_attrs.get(k))},
    )


def _seconds(time: datetime | None) -> float:
    return 0.0 if time is None else time.timestamp()


def summarize_all(study: Study) -> list[TrialSummary]:
    """Return the trials of a recorded study that have settings."""
    trials = study.get_trials(deepcopy=False)
    dropped = study.user_attrs.get(DROPPED, [])
    return [summarize(trial, dropped) for trial in trials if "settings" in trial.user_attrs]


def checkpoint_ranking(rows: Sequence[TrialSummary]) -> list[TrialSummary]:
    """Return the finished trials that wrote a checkpoint, the study's best first.

    Those that were dropped are among them, so that the set kept in the end does not depend on the
    order in which trials end.
    """
    over = [row for row in rows if row.state != "RUNNING" and row.checkpoint]
    return sorted(over, key=lambda r: (r.state not in RANKED, -(r.value or 0.0), r.number))


def is_better(trial: TrialSummary, best: TrialSummary | None) -> bool:
    """Return whether a trial takes the place of the best one: it is ranked, at a higher value.

    Of equals the one that started first is the better, in whatever order they end.
    """
    if trial.state not in RANKED or best is None:
        return trial.state in RANKED
    return _value_and_age(trial) > _value_and_age(best)


def ranking(rows: Iterable[TrialSummary]) -> list[TrialSummary]:
    """Return the complete and the pruned trials, the best first.

    Each counts by its best epoch: having been pruned says how long a trial trained, not how good
    its checkpoint is. Failed trials are not ranked.
    """
    found = [row for row in rows if row.state in RANKED]
    return sorted(found, key=_value_and_age, reverse=True)


def best_trial(rows: Iterable[TrialSummary]) -> TrialSummary | None:
    """Return the best trial that is complete or pruned; None without one."""
    return next(iter(ranking(rows)), None)


def _value_and_age(row: TrialSummary) -> tuple[float, int]:
    return row.value or 0.0, -row.number


@dataclass(frozen=True, slots=True)
class TrialSpec:
    """A trial to run."""

    number: int
    config: RunConfig
    params: Mapping[str, Any]
    """Parameters that the space suggested."""

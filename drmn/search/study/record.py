"""The record of a study: an Optuna study in a database, written by one process.

It holds all that is known: settings, each epoch's metrics, states and causes. Ray executes and
MLflow shows; both can be lost. Whoever opens the record goes on where it stands.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from drmn.config import RunConfig, flatten
from drmn.errors import ConfigError
from drmn.metric_names import AT, Metrics
from drmn.search.config import PolicyConfig
from drmn.search.pruners.factory import make_pruner
from drmn.search.samplers.sampler_study import SamplerStudy
from drmn.search.storage.trial_cache import TrialCache
from drmn.search.study.warm_start import first_points, inherited_trials
from drmn.search.trial_summary import (
    CHECKPOINT,
    DROPPED,
    EPOCH,
    FINETUNES,
    TrialSpec,
    TrialSummary,
    bests,
    summarize,
)
from drmn.space import Space, ask, settings

MAX_LOST_PROCESSES = 3
"""How often a trial may lose its process before that counts as its own failure."""
MOVED = "moved"
"""User attribute: how often a trial lost its machine, or was told to leave it."""
PASSED = "passed"
"""User attribute: the last rung that a trial has passed."""


class StudyRecord:
    """An open study.

    Args:
        study: The Optuna study, new or not.
        space: What to search.
        base: What the space leaves alone.
        policy: How to search it.
    """

    def __init__(
        self, study: optuna.Study, space: Space, base: RunConfig, policy: PolicyConfig
    ) -> None:
        self.study, self.space, self.base, self.policy = study, space, base, policy
        self.inherited = inherited_trials(study, space)
        self.sampler_study = SamplerStudy(policy, base.seed, self.inherited)
        self.pruner = make_pruner(policy)
        self.first = first_points(study, space, base)
        self._rows: dict[int, TrialSummary] = {}
        """Those of trials that are over."""
        self._written = TrialCache(study, flatten(base))
        self.dropped: set[int] = set(study.user_attrs.get(DROPPED, []))
        """Trials whose best epoch's file was removed."""
        trials = self._written.all()
        self.interrupted = [t.number for t in trials if t.state == TrialState.RUNNING]
        """Trials whose process or driver died: `next` hands them out first."""
        chosen = self._chosen()
        self.sampler_study.sync(chosen, self.policy.known(len(chosen)))
        for trial in chosen:
            for epoch, best in bests(trial.intermediate_values).items():
                self.pruner.note(trial.number, epoch, best)

    def next(self) -> TrialSpec | None:
        """Return a trial that lost its process, or else a new one.

        None if the next one waits for results (`policy.window`).

        Raises:
            ConfigError: The space cannot be asked, or its point is no valid run.
        """
        if self.interrupted:
            return self.point(self.interrupted.pop(0))
        trials = self._chosen()
        known = self.policy.known(len(trials))
        if self.policy.window and not all(t.state.is_finished() for t in trials[:known]):
            return None
        return self._add(trials, known)

    def _add(self, trials: Sequence[FrozenTrial], known: int) -> TrialSpec:
        """Choose a trial's settings and write it down, all at once: a driver may die."""
        number = self.count
        first = self.first[len(trials)] if len(trials) < len(self.first) else None
        asked, run = self.sampler_study.ask_unseen(number, trials, known, first, self._run)
        params = asked.params  # a copy each time
        # A point once more says more with another seed than with the same.
        repeats = sum(trial.params == params for trial in trials)
        found = flatten(run) | {"seed": self.base.seed + repeats}
        return self.point(self._written.add(TrialState.RUNNING, asked, {"settings": found}))

    def _run(self, asked: Trial) -> RunConfig:
        try:
            return settings(self.base, ask(self.space, asked), asked.params)
        except ConfigError as mistake:
            self._written.add(TrialState.FAIL, asked, {"cause": str(mistake)})
            raise

    def again(self) -> TrialSpec | None:
        """Return one of the best trials, to be trained again with the backbone along.

        None while another is not over, and when there are no more of them (`policy.finetune`).
        """
        waiting = self.waiting
        return self._add_again(waiting[0]) if waiting else None

    @property
    def waiting(self) -> list[int]:
        """The trials that are now to be trained again."""
        rows = self.rows() if self.policy.finetune else []
        if any(row.state == "RUNNING" and row.again is None for row in rows):
            return []
        done = {row.again for row in rows}
        complete = [row for row in rows if row.state == "COMPLETE" and row.again is None]
        best = sorted(complete, key=lambda row: -(row.value or 0.0))[: self.policy.finetune]
        return [row.number for row in best if row.number not in done]

    def _add_again(self, number: int) -> TrialSpec:
        trial = self.trial(number)
        found = trial.user_attrs["settings"] | {"tier": "finetuned"}
        about = {"settings": found, FINETUNES: number}
        return self.point(self._written.add(TrialState.RUNNING, trial, about))

    def point(self, number: int) -> TrialSpec:
        """Return a recorded trial as it is to be run."""
        trial = self.trial(number)
        return TrialSpec(
            number, settings(self.base, trial.user_attrs["settings"], {}), trial.params
        )

    def report(
        self,
        number: int,
        epoch: int,
        metrics: Metrics,
        checkpoint: Mapping[str, Any] = MappingProxyType({}),
    ) -> bool:
        """Write down an epoch; return whether the trial is to end there, and then end it.

        The `checkpoint` is that of the best epoch so far: its `epoch`, `sha256` and `bytes`.

        Telling an epoch again changes nothing: a trial that lost its process repeats its last.
        """
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        if bad:
            return self.fail(number, f"{bad[0]} is {metrics[bad[0]]} in epoch {epoch}")
        values = dict(self.trial(number).intermediate_values)
        trial = self._written.live(number)
        if epoch not in values:
            values[epoch] = metrics[self.policy.objective]
            trial.set_user_attr(f"{EPOCH}{epoch}", {**metrics, AT: time.time()})
            trial.report(values[epoch], epoch)
        if "sha256" in checkpoint and trial.user_attrs.get(CHECKPOINT) != checkpoint:
            trial.set_user_attr(CHECKPOINT, dict(checkpoint))
        best = bests(values)
        stopped = self._stops(trial, epoch, best[epoch])
        if epoch == trial.user_attrs["settings"]["optim.epochs"]:
            self.study.tell(number, max(best.values()))
            return True
        if stopped:
            trial.set_user_attr("cause", self.pruner.reason(epoch))
            self.study.tell(number, state=TrialState.PRUNED)
        return stopped

    def _stops(self, trial: Trial, epoch: int, best: float) -> bool:
        """Return whether a trial stops at a rung; one that passed it once has passed it."""
        free = self.policy.pruner == "none" or FINETUNES in trial.user_attrs
        if free or trial.user_attrs.get(PASSED, 0) >= epoch:
            return False
        stopped = self.pruner.should_prune(trial.number, epoch, best)
        if self.pruner.is_rung(epoch) and not stopped:
            trial.set_user_attr(PASSED, epoch)
        return stopped

    def fail(self, number: int, cause: str) -> bool:
        """End a trial as failed; it can never win. Returns True: it is to end."""
        self._written.live(number).set_user_attr("cause", cause)
        self.study.tell(number, state=TrialState.FAIL)
        return True

    def drop(self, numbers: Iterable[int]) -> None:
        """Note, before it is done, that the best epochs' files of trials that are over go."""
        self.dropped.update(numbers)
        self._rows.clear()
        self.study.set_user_attr(DROPPED, sorted(self.dropped))

    def interrupt(self, number: int, *, excused: bool = False) -> bool:
        """Note that a trial lost its process; return whether it is handed out again.

        That a machine went, or had no room on its disk, is no sign against the trial: spot
        instances go all the time.
        """
        trial = self._written.live(number)
        if excused:
            trial.set_user_attr(MOVED, int(trial.user_attrs.get(MOVED, 0)) + 1)
            self.interrupted.append(number)
            return True
        times = int(trial.user_attrs.get("interrupted", 0)) + 1
        trial.set_user_attr("interrupted", times)
        if times >= MAX_LOST_PROCESSES:
            self.fail(number, f"lost its process {MAX_LOST_PROCESSES} times")
            return False
        self.interrupted.append(number)
        return True

    @property
    def count(self) -> int:
        """The number of trials that were begun, whatever became of them."""
        return len(self._written.all())

    def trials(self) -> list[FrozenTrial]:
        """Return all trials that have settings, as Optuna has them."""
        return [trial for trial in self._written.all() if "settings" in trial.user_attrs]

    def rows(self) -> list[TrialSummary]:
        """Return all trials, in the order they were asked for."""
        return [self._row(trial) for trial in self.trials()]

    def row(self, number: int) -> TrialSummary:
        """Return one trial."""
        return self._row(self.trial(number))

    def _row(self, trial: FrozenTrial) -> TrialSummary:
        if trial.number in self._rows:
            return self._rows[trial.number]
        row = summarize(trial, self.dropped)
        if trial.state.is_finished():  # nothing changes any more
            self._rows[trial.number] = row
        return row

    def best(self) -> TrialSummary | None:
        """Return the complete trial of the highest value; of equals the first."""
        complete = [row for row in self.rows() if row.state == "COMPLETE"]
        return max(complete, key=lambda row: row.value or 0.0, default=None)

    def trial(self, number: int) -> FrozenTrial:
        """Return a trial as Optuna has it."""
        return self._written.all()[number]

    def _chosen(self) -> list[FrozenTrial]:
        """Return the trials whose settings were chosen, not taken from others."""
        return [trial for trial in self._written.all() if FINETUNES not in trial.user_attrs]

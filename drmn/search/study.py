"""The record of a study: an Optuna study in a database, written by one process.

It holds all that is known: settings, each epoch's metrics, states and causes. Ray executes and
MLflow shows; both can be lost. Whoever opens the record goes on where it stands.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from drmn.config import RunConfig, flatten
from drmn.search.policy import Halving, build_sampler
from drmn.search.settings import PolicyConfig
from drmn.space import Space, baseline, settings

Metrics = Mapping[str, float]
EPOCH = "epoch/"
"""User attributes `epoch/3` hold an epoch's metrics: Optuna keeps but one value a step."""


@dataclass(frozen=True, slots=True)
class Point:
    """A trial to run."""

    number: int
    config: RunConfig
    params: Mapping[str, Any]
    """What the space was asked for."""


@dataclass(frozen=True, slots=True)
class Row:
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
    """Of the best epoch."""
    settings: Mapping[str, Any]
    params: Mapping[str, Any]


class Record:
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
        self.halving = Halving(policy.first_rung, policy.factor)
        trials = study.get_trials(deepcopy=False)
        self.interrupted = [t.number for t in trials if t.state == TrialState.RUNNING]
        """Trials whose process or driver died: `next` hands them out first."""
        for trial in trials:
            for epoch, best in _bests(trial).items():
                self.halving.stops(trial.number, epoch, best)
        if not trials:
            study.enqueue_trial(baseline(space, base))

    def next(self) -> Point:
        """Return a trial that lost its process, or else a new one."""
        if self.interrupted:
            return self.point(self.interrupted.pop(0))
        number = len(self._trials())
        self.study.sampler = build_sampler(self.policy, self.base.seed, number)
        trial = self.study.ask()
        constants = self.space(trial)
        # The same point once more says more with another seed than with the same.
        repeats = sum(t.params == trial.params for t in self._trials()) - 1
        flat = flatten(settings(self.base, constants, trial.params))
        trial.set_user_attr("settings", flat | {"seed": self.base.seed + repeats})
        return self.point(trial.number)

    def point(self, number: int) -> Point:
        """Return a recorded trial as it is to be run."""
        trial = self._trials()[number]
        return Point(number, settings(self.base, trial.user_attrs["settings"], {}), trial.params)

    def report(self, number: int, epoch: int, metrics: Metrics) -> bool:
        """Write down an epoch; return whether the trial is to end there, and then end it.

        Telling an epoch again changes nothing: a trial that lost its process repeats its last.
        """
        trial = self._live(number)
        value = metrics.get(self.policy.objective, math.nan)
        bad = [name for name, number in metrics.items() if not math.isfinite(number)]
        if bad:
            return self.fail(number, f"{bad[0]} is {metrics[bad[0]]} in epoch {epoch}")
        if epoch not in self._trials()[number].intermediate_values:
            trial.set_user_attr(f"{EPOCH}{epoch}", dict(metrics))
            trial.report(value, epoch)
        best = _bests(self._trials()[number])
        stopped = self.policy.pruner == "halving" and self.halving.stops(number, epoch, best[epoch])
        if epoch == self.point(number).config.optim.epochs:
            self.study.tell(number, max(best.values()))
            return True
        if stopped:
            trial.set_user_attr("cause", f"not in the top 1/{self.halving.factor} at epoch {epoch}")
            self.study.tell(number, state=TrialState.PRUNED)
        return stopped

    def fail(self, number: int, cause: str) -> bool:
        """End a trial as failed; it can never win. Returns True: it is to end."""
        self._live(number).set_user_attr("cause", cause)
        self.study.tell(number, state=TrialState.FAIL)
        return True

    def interrupt(self, number: int) -> int:
        """Note that a trial lost its process, to be handed out again; return how often it did."""
        trial = self._live(number)
        times = int(trial.user_attrs.get("interrupted", 0)) + 1
        trial.set_user_attr("interrupted", times)
        self.interrupted.append(number)
        return times

    def rows(self) -> list[Row]:
        """Return all trials, in the order they were asked for."""
        return [_row(trial) for trial in self._trials() if "settings" in trial.user_attrs]

    def row(self, number: int) -> Row:
        """Return one trial."""
        return _row(self._trials()[number])

    def best(self) -> Row | None:
        """Return the complete trial of the highest value; of equals the first."""
        complete = [row for row in self.rows() if row.state == "COMPLETE"]
        return max(complete, key=lambda row: row.value or 0.0, default=None)

    def trial(self, number: int) -> FrozenTrial:
        """Return a trial as Optuna has it."""
        return self._trials()[number]

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _live(self, number: int) -> Trial:
        return Trial(self.study, self._trials()[number]._trial_id)  # noqa: SLF001 - no public way


def epochs(trial: FrozenTrial) -> dict[int, Metrics]:
    """Return the metrics of each epoch of a recorded trial."""
    named = {k: v for k, v in trial.user_attrs.items() if k.startswith(EPOCH)}
    return {int(key.removeprefix(EPOCH)): value for key, value in named.items()}


def _bests(trial: FrozenTrial) -> dict[int, float]:
    """Return the best value so far at each epoch."""
    best, so_far = -math.inf, {}
    for epoch, value in sorted(trial.intermediate_values.items()):
        best = max(best, value)
        so_far[epoch] = best
    return so_far


def _row(trial: FrozenTrial) -> Row:
    values = trial.intermediate_values
    best = max(values, key=lambda epoch: (values[epoch], -epoch), default=0)
    return Row(
        number=trial.number,
        state=trial.state.name,
        cause=trial.user_attrs.get("cause", ""),
        epochs=max(values, default=0),
        value=values.get(best),
        best_epoch=best,
        metrics=epochs(trial).get(best, {}),
        settings=trial.user_attrs["settings"],
        params=trial.params,
    )

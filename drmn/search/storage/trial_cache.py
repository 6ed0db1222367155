"""Cache of a study's trials, for the one process that writes them."""

import sys
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial


class TrialCache:
    """All trials of an open study.

    Optuna would read all running trials again each time: with a thousand, seconds for each epoch.
    No other process writes, so only trials written to since are read.

    Args:
        study: The Optuna study.
        base: Settings, flat: trials share the values that they have of these.
    """

    def __init__(self, study: optuna.Study, base: Mapping[str, Any]) -> None:
        self.study, self._base = study, base
        self._all = [_slim(trial, base) for trial in study.get_trials(deepcopy=False)]
        self._stale: set[int] = set()
        """Trials that were written to since they were read."""

    def all(self) -> list[FrozenTrial]:
        """Return all trials as Optuna has them, in the order they were asked for."""
        storage, study = self.study._storage, self.study._study_id  # noqa: SLF001 - no public way
        for number in sorted(self._stale):
            known = storage.get_trial_id_from_study_id_trial_number(study, number)
            self._all[number : number + 1] = [_slim(storage.get_trial(known), self._base)]
        self._stale.clear()
        return self._all

    def add(self, state: TrialState, asked: Trial | FrozenTrial, about: Mapping[str, Any]) -> int:
        """Record one more trial in one write, and return its number."""
        number = len(self.all())
        self.study.add_trial(
            create_trial(
                state=state,
                params=asked.params,
                distributions=asked.distributions,
                user_attrs=dict(about),
            )
        )
        self._stale.add(number)
        return number

    def live(self, number: int) -> Trial:
        """Return a trial to write to."""
        known = self.all()[number]._trial_id  # noqa: SLF001 - no public way
        self._stale.add(number)
        return Trial(self.study, known)


def _slim(trial: FrozenTrial, base: Mapping[str, Any]) -> FrozenTrial:
    """Return a trial that shares the names of settings, and values that equal the base's.

    Read from a database, each trial has separate copies: for thousands, some megabytes.
    """
    settings = trial.user_attrs.get("settings")
    if settings is not None:
        trial.user_attrs["settings"] = {
            sys.intern(name): base[name] if _same(base.get(name), value) else value
            for name, value in settings.items()
        }
    return trial


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other

"""Views of a study's record: an open one, or one that is only read."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import optuna
from optuna.trial import FrozenTrial

from drmn.search.trial_summary import TrialSummary, best_trial, summarize, summarize_all


@runtime_checkable
class StudyView(Protocol):
    """A view of a study's record: an open one, or one that is only read."""

    study: optuna.Study

    def trials(self) -> list[FrozenTrial]:
        """Return all trials that have settings, as Optuna has them."""

    def trial(self, number: int) -> FrozenTrial:
        """Return a trial as Optuna has it."""

    def trial_summaries(self) -> list[TrialSummary]:
        """Return all trials that have settings."""

    def trial_summary(self, number: int) -> TrialSummary:
        """Return one trial."""

    def best(self) -> TrialSummary | None:
        """Return the complete trial of the highest value."""


@dataclass(slots=True)
class ReadOnlyStudy:
    """A record that is only read; its driver may be at work, on another machine too."""

    study: optuna.Study

    def trials(self) -> list[FrozenTrial]:
        """Return all trials that have settings, as Optuna has them."""
        every = self.study.get_trials(deepcopy=False)
        return [trial for trial in every if "settings" in trial.user_attrs]

    def trial(self, number: int) -> FrozenTrial:
        """Return a trial as Optuna has it."""
        return self.study.get_trials(deepcopy=False)[number]

    def trial_summaries(self) -> list[TrialSummary]:
        """Return all trials that have settings."""
        return summarize_all(self.study)

    def trial_summary(self, number: int) -> TrialSummary:
        """Return one trial."""
        return summarize(self.trial(number))

    def best(self) -> TrialSummary | None:
        """Return the complete trial of the highest value."""
        return best_trial(self.trial_summaries())

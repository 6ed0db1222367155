"""Totals of a study: trials by state, the best complete one, and what all of them took."""

from collections import Counter
from collections.abc import Iterable

from drmn.metric_names import best_of
from drmn.search.trial_summary import TrialSummary, is_better
from drmn.units import duration


class StudyTotals:
    """Sums over trials, as they end or all at once.

    Args:
        trials: Those to count.
    """

    def __init__(self, trials: Iterable[TrialSummary] = ()) -> None:
        self.states: Counter[str] = Counter()
        self.best: TrialSummary | None = None
        """The complete trial of the highest value; of equals the first."""
        self.epochs, self.seconds = 0, 0.0
        for trial in trials:
            self.add(trial)

    def add(self, trial: TrialSummary) -> None:
        """Count a trial."""
        self.states[trial.state] += 1
        self.epochs += trial.epochs
        self.seconds += trial.seconds
        # A refit has no validation classes, so none of its trainings is the better one.
        judged = any(name.startswith("val/") for name in trial.metrics)
        if judged and is_better(trial, self.best):
            self.best = trial

    @property
    def trials(self) -> int:
        """The number of trials in any state."""
        return self.states.total()

    @property
    def finished(self) -> int:
        """The number of trials that do not run any more."""
        return self.trials - self.states["RUNNING"]

    @property
    def worker_hours(self) -> float:
        """Hours of training and validation of all workers together."""
        return self.seconds / 3600

    @property
    def counts(self) -> str:
        """The numbers of trials by state, in words; empty of none."""
        states = sorted(self.states.items())
        return ", ".join(f"{count} {state.lower()}" for state, count in states)

    @property
    def spent(self) -> dict[str, float]:
        """Costs of the trials, for JSON."""
        return {
            "trials": self.trials,
            "epochs": self.epochs,
            "worker_hours": self.worker_hours,
        }

    def metrics(self) -> dict[str, float]:
        """Return the totals as MLflow shows them on the study's own run."""
        found = {f"trials/{state.lower()}": float(n) for state, n in self.states.items()}
        found |= {"spent/epochs": float(self.epochs), "spent/worker_hours": self.worker_hours}
        return found | ({} if self.best is None else best_of(self.best.metrics))

    def __str__(self) -> str:
        """Return the costs of the trials in words."""
        return (
            f"{self.trials} trials, {self.epochs} epochs, {duration(self.seconds)} of worker time"
        )

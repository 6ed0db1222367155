"""How a study stands after each of its trials: the figures on its own row in MLflow."""

from collections import Counter

from drmn.metric_names import best_of
from drmn.search.trial_summary import TrialSummary


class StudyTotals:
    """Adds up trials as they end: a step of a study's curves for each."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.best: TrialSummary | None = None
        """The complete trial of the highest value; of equals the first."""
        self.epochs, self.seconds = 0, 0.0

    @property
    def step(self) -> int:
        """The number of trials that are over."""
        return sum(self.states.values())

    def add(self, row: TrialSummary) -> dict[str, float]:
        """Count a trial that is over; return what the study has come to."""
        self.states[row.state.lower()] += 1
        self.epochs += row.epochs
        self.seconds += row.seconds
        if row.state == "COMPLETE" and (self.best is None or _rank(row) > _rank(self.best)):
            self.best = row
        found = {f"trials/{state}": float(count) for state, count in self.states.items()}
        found |= {"spent/epochs": float(self.epochs), "spent/worker_hours": self.seconds / 3600}
        return found | ({} if self.best is None else best_of(self.best.metrics))


def _rank(row: TrialSummary) -> tuple[float, int]:
    return row.value or 0.0, -row.number

"""Limits of a study's budget: whether another trial may start."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from drmn.search.config import Budget
from drmn.search.study_totals import StudyTotals
from drmn.search.trial_summary import TrialSummary

MIN_TRIALS_FOR_GAIN = 20
"""Trials before which no gain of more of them is estimated."""
TAIL_FRACTION = 4
"""One value in so many belongs to the tail that the expected gain is read off."""


@dataclass(frozen=True, slots=True)
class BudgetTracker:
    """A budget, for one start of a study."""

    budget: Budget
    began: float
    """When it started, by `time.monotonic`."""

    def exhausted(self, rows: Sequence[TrialSummary]) -> str:
        """Return why no trial may start any more, or the empty string."""
        chosen = [row for row in rows if row.again is None]
        if len(chosen) >= self.budget.trials:
            return f"all {self.budget.trials} trials were started (--budget.trials)"
        return self.over_limit(rows) or self._no_gain(chosen)

    def over_limit(self, rows: Sequence[TrialSummary]) -> str:
        """Return which limit is reached, that on the number of trials apart; or empty."""
        budget, used = self.budget, StudyTotals(rows)
        money = used.worker_hours * budget.price
        minutes = (time.monotonic() - self.began) / 60
        if budget.epochs and used.epochs >= budget.epochs:
            return f"{used.epochs} epochs were trained (--budget.epochs {budget.epochs})"
        if budget.worker_hours and used.worker_hours >= budget.worker_hours:
            limit = f"--budget.worker-hours {budget.worker_hours:g}"
            return f"its trials took {used.worker_hours:.2f} hours ({limit})"
        if budget.money and money >= budget.money:
            return f"its trials cost {money:.2f} (--budget.money {budget.money:g})"
        if budget.minutes and minutes >= budget.minutes:
            return f"it ran for {minutes:.0f} minutes (--budget.minutes {budget.minutes:g})"
        return ""

    def _no_gain(self, rows: Sequence[TrialSummary]) -> str:
        values = [row.value for row in rows if row.value is not None and row.state != "FAIL"]
        left = self.budget.trials - len(rows)
        if not self.budget.least_gain or len(values) < MIN_TRIALS_FOR_GAIN:
            return ""
        gain, error = expected_gain(values, left)
        if gain + error >= self.budget.least_gain:
            return ""
        return (
            f"the {left} trials that are left would raise the best by {100 * gain:.2f} ± "
            f"{100 * error:.2f} points (--budget.least-gain {self.budget.least_gain:g})"
        )


def expected_gain(values: Sequence[float], more: int) -> tuple[float, float]:
    r"""Return how much `more` trials are expected to raise the best of `values`, and the error.

    The best quarter is taken to fall off exponentially, with the mean excess $\sigma$ over the
    value below it: the best of $n+m$ such values lies $\sigma \ln\frac{n+m}{n}$ above the best of
    $n$, with a standard error of $1/\sqrt k$ of that for $k$ values in the tail. Trials count as
    alike, so a sampler that gets better as it learns gains more than this.
    """
    ranked = sorted(values, reverse=True)
    count = max(1, len(ranked) // TAIL_FRACTION)
    excess = sum(ranked[:count]) / count - ranked[count]
    gain = excess * math.log((len(ranked) + more) / len(ranked))
    return gain, gain / math.sqrt(count)

"""When a search ends: what may be spent, and what more of it would gain."""

import math
import time

import pytest

from drmn.search.budget.limits import BudgetTracker, expected_gain
from drmn.search.config import Budget
from drmn.search.study_totals import StudyTotals
from drmn.search.trial_summary import TrialSummary


def row(number, value=0.5, *, epochs=3, seconds=0.0, state="COMPLETE"):
    return TrialSummary(number, state, "", epochs, value, 1, {}, {}, {}, seconds)


def why(budget, rows):
    return BudgetTracker(budget, time.monotonic()).exhausted(rows)


def test_what_trials_took_is_added_up():
    used = StudyTotals([row(0, seconds=1800), row(1, seconds=900, epochs=1)])
    assert (used.trials, used.epochs, used.worker_hours) == (2, 4, 0.75)


ROWS = [row(0, seconds=3600), row(1, seconds=1800)]


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(trials=2), "all 2 trials were started (--budget.trials)"),
        (Budget(epochs=6), "6 epochs were trained (--budget.epochs 6)"),
        (Budget(epochs=7), ""),
        (
            Budget(worker_hours=1.5),
            "its trials took 1.50 hours (--budget.worker-hours 1.5)",
        ),
        (Budget(worker_hours=1.6), ""),
        (Budget(money=3.0, price=2.0), "its trials cost 3.00 (--budget.money 3)"),
        (Budget(money=3.1, price=2.0), ""),
    ],
)
def test_a_search_ends_when_a_cap_is_reached_and_says_which(budget, words):
    assert why(budget, ROWS) == words


def test_minutes_are_of_one_start():
    budget = BudgetTracker(Budget(minutes=10), time.monotonic() - 601)
    assert budget.exhausted([]) == "it ran for 10 minutes (--budget.minutes 10)"


def test_the_expected_gain_is_that_of_an_exponential_tail():
    # Eight values: the best two lie 0.03 and 0.01 above the third, 0.02 on the mean.
    values = [0.53, 0.51, 0.50, 0.4, 0.3, 0.3, 0.2, 0.1]
    gain, error = expected_gain(values, 8)
    assert gain == pytest.approx(0.02 * math.log(2))
    assert error == pytest.approx(gain / math.sqrt(2))
    assert expected_gain(values, 0) == (0.0, 0.0)


def test_a_search_ends_when_little_more_can_be_gained():
    flat = [row(k, 0.5 + 1e-5 * k) for k in range(24)]
    assert why(Budget(trials=30, least_gain=0.001), flat).startswith(
        "the 6 trials that are left would raise the best by 0.00 ± 0.00 points"
    )
    assert why(Budget(trials=30), flat) == ""  # only if asked to
    assert why(Budget(trials=30, least_gain=0.001), flat[:19]) == ""  # too few to tell
    steep = [row(k, 0.1 * k / 24) for k in range(24)]
    assert why(Budget(trials=200, least_gain=0.001), steep) == ""


def test_failed_trials_say_nothing_about_the_gain():
    rows = [row(k, None if k % 2 else 0.5, state="FAIL" if k % 2 else "PRUNED") for k in range(30)]
    assert why(Budget(trials=31, least_gain=0.001), rows) == ""  # fifteen values alone

"""What a result says of itself: few classes, no better than a baseline or than other trials."""

from dataclasses import replace

from drmn.search.analysis.evidence import limits
from drmn.search.trial_summary import TrialSummary

BASELINES = {"ESZSL": {"val/H": 0.5}, "cosine": {"val/H": 0.4}}
ROW = TrialSummary(
    number=0,
    state="COMPLETE",
    cause="",
    epochs=3,
    value=0.6,
    best_epoch=3,
    metrics={"val/H": 0.6, "val/H_se": 0.05},
    settings={},
    params={},
)


def row(number, value, error=0.05, state="COMPLETE"):
    metrics = {"val/H": value, "val/H_se": error}
    return replace(ROW, number=number, value=value, metrics=metrics, state=state)


def said(*values, error=0.05, unseen=50, baselines=BASELINES):
    rows = [row(number, value, error) for number, value in enumerate(values)]
    return limits(max(rows, key=lambda each: each.value), rows, baselines, unseen)


def test_a_clear_winner_on_many_classes_needs_no_word():
    assert said(0.3, 0.7, 0.6) == []
    assert said(0.7) == []


def test_few_unseen_classes_are_counted():
    (note,) = said(0.7, unseen=3)
    assert note.startswith("validation has 3 unseen classes alone: ")


def test_a_best_trial_that_beats_no_baseline_says_so():
    (note,) = said(0.5)
    assert note == "DRMN does not beat the strongest baseline: H 50.0 ± 5.0, ESZSL 50.0"
    (note,) = said(0.54)
    assert note.startswith("DRMN is within one standard error of the strongest baseline: H 54.0")


def test_trials_within_one_standard_error_of_the_best_are_counted():
    (note,) = said(0.70, 0.66, 0.64, 0.68)
    assert note == (
        "2 of 3 other trials are within one standard error of the best (± 5.0): which of them is "
        "the best is not shown"
    )


def test_a_stopped_trial_counts_and_a_failed_one_does_not():
    rows = [row(0, 0.7), row(1, 0.69, state="PRUNED"), row(2, 0.69, state="FAIL")]
    (note,) = limits(rows[0], rows, BASELINES, 50)
    assert note.startswith("1 of 1 other trials")


def test_data_on_which_all_are_perfect_tell_nothing_apart():
    every = {"ESZSL": {"val/H": 1.0}, "cosine": {"val/H": 1.0}}
    _, note = said(1.0, 1.0, error=0.0, unseen=2, baselines=every)
    assert note == (
        "H is 100.0 for DRMN and all baselines in every trial: these data tell no model and no "
        "setting from another"
    )

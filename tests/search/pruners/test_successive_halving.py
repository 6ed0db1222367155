"""When a trial is stopped."""

import numpy as np
import pytest

from drmn.search.config import PolicyConfig
from drmn.search.pruners.hyperband import Hyperband
from drmn.search.pruners.successive_halving import SuccessiveHalving


def test_rungs_are_powers_of_the_factor_from_the_first():
    halving = SuccessiveHalving(first=2, factor=3)
    assert [epoch for epoch in range(1, 60) if halving.is_rung(epoch)] == [2, 6, 18, 54]


def test_a_trial_goes_on_from_a_rung_if_it_is_in_the_top_third_there():
    halving = SuccessiveHalving(first=1, factor=3)
    # Of the first three at most one may be better than a trial that goes on, then of six two.
    values = [0.5, 0.4, 0.6, 0.3, 0.55, 0.7]
    stopped = [halving.should_prune(trial, 1, value) for trial, value in enumerate(values)]
    assert stopped == [False, True, False, True, True, False]


def test_between_rungs_nothing_is_stopped():
    halving = SuccessiveHalving(first=1, factor=3)
    halving.should_prune(0, 1, 1.0)
    assert not halving.should_prune(1, 2, 0.0)


def test_a_rung_that_is_told_twice_of_a_trial_counts_it_once():
    halving = SuccessiveHalving(first=1, factor=3)
    for _ in range(5):
        halving.should_prune(0, 1, 0.9)
    assert halving.reached[1] == {0: 0.9}


def test_with_a_window_a_rung_compares_with_trials_far_enough_back():
    halving = SuccessiveHalving(first=1, factor=2, window=2)
    values = [0.5, 0.9, 0.6, 0.4]
    # Trial 2 is compared with 0 alone, and 3 with 0 and 1.
    assert [halving.should_prune(n, 1, v) for n, v in enumerate(values)] == [
        False,
        False,
        False,
        True,
    ]


def test_hyperband_compares_trials_within_their_bracket_alone():
    band = Hyperband(PolicyConfig(pruner="hyperband", first_rung=1))
    counts = np.bincount([band.bracket(number) for number in range(3000)])
    shares = np.array([9 / 3, 3 / 2, 1.0])  # of the paper: factor^s / (s + 1)
    assert counts == pytest.approx(3000 * shares / shares.sum(), rel=0.01)
    members = {b: [n for n in range(60) if band.bracket(n) == b][:3] for b in range(3)}
    for bracket, epoch in ((0, 1), (1, 3), (2, 9)):
        one, two, _ = members[bracket]
        assert not band.should_prune(one, epoch, 0.9)
        assert band.should_prune(two, epoch, 0.1)
        assert not any(
            band.should_prune(n, earlier, 0.0)
            for n in members[bracket]
            for earlier in (1, 3)
            if earlier < epoch
        )

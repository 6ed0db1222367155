"""Confirmation: an exact test of paired differences, its looks, and who is dropped."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drmn.final.confirm import LOOKS, SELECTION, evidence, interval, judge, sign_flip

FLAT = {0: 0.5, 1: 0.5, 2: 0.5}


def blocks(*rows):
    return dict(enumerate(rows))


@given(st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=1, max_size=8))
def test_sign_flip_is_the_share_of_sign_patterns_with_as_high_a_sum(differences):
    flips = itertools.product((1, -1), repeat=len(differences))
    sums = [sum(s * abs(d) for s, d in zip(f, differences, strict=True)) for f in flips]
    share = np.mean([each >= sum(differences) - 1e-9 for each in sums])
    assert sign_flip(differences) == pytest.approx(share)


def test_six_wins_of_six_are_just_enough_for_the_first_look():
    assert sign_flip([0.01] * 5 + [0.02]) == 1 / 64 <= LOOKS[6]
    assert sign_flip([0.01] * 5 + [-0.001]) > LOOKS[6]


def test_levels_of_both_looks_sum_to_less_than_five_percent():
    assert sum(LOOKS.values()) < 0.05


def test_the_leader_is_frozen_after_two_blocks_and_the_search():
    verdict = judge(blocks([0.5, 0.6], [0.5, 0.5], [0.4, 0.4]), FLAT)
    assert (verdict.leader, verdict.need) == (0, SELECTION + 2)
    # What comes later does not change who is tested.
    later = judge(blocks([0.5, 0.6, 0.1, 0.1], [0.5, 0.5, 0.9, 0.9], [0.4, 0.4, 0.1, 0.1]), FLAT)
    assert later.leader == 0


def test_nobody_leads_before_each_candidate_has_two_blocks():
    verdict = judge(blocks([0.5, 0.6], [0.5]), FLAT)
    assert (verdict.leader, verdict.need, verdict.alive) == (None, SELECTION, (0, 1))


def test_a_clear_winner_is_claimed_at_the_first_look():
    better = [0.60, 0.61, 0.62, 0.60, 0.61, 0.63, 0.60, 0.62]
    worse = [value - 0.03 + 0.001 * i for i, value in enumerate(better)]
    verdict = judge(blocks(better, worse), FLAT)
    assert verdict.need == 0
    assert verdict.clear
    assert verdict.unbeaten == (0,)


def test_one_lost_block_of_six_asks_for_the_second_look():
    better = [0.6] * 8
    close = [0.57] * 7 + [0.61]
    verdict = judge(blocks(better, close), FLAT)
    assert (verdict.need, verdict.clear) == (SELECTION + 10, False)


def test_equal_candidates_are_a_tie_of_all_that_are_not_beaten():
    chance = np.random.default_rng(0)
    rows = chance.normal(0.5, 0.01, (3, SELECTION + 10)).tolist()
    verdict = judge(blocks(*rows), FLAT)
    assert verdict.need == 0
    assert not verdict.clear
    assert len(verdict.unbeaten) > 1


def test_a_rival_that_is_clearly_behind_is_dropped_and_the_strongest_never_is():
    leader, near, far = [0.6, 0.61, 0.6, 0.62], [0.59, 0.6, 0.59, 0.6], [0.4, 0.42, 0.4, 0.41]
    verdict = judge(blocks(leader, near, far), FLAT)
    assert verdict.alive == (0, 1)
    assert judge(blocks(leader, far), FLAT).alive == (0, 1)


def test_a_single_candidate_needs_blocks_for_its_estimate_alone():
    assert judge(blocks([0.5, 0.5]), FLAT).need == SELECTION + 2
    done = judge(blocks([0.5] * (SELECTION + 2)), FLAT)
    assert (done.need, done.unbeaten, done.clear) == (0, (0,), False)


def test_evidence_is_one_on_average_over_all_signs():
    sizes = [0.01, 0.03, 0.002, 0.02]
    every = itertools.product((1, -1), repeat=len(sizes))
    values = [evidence([s * d for s, d in zip(signs, sizes, strict=True)]) for signs in every]
    assert np.mean(values) == pytest.approx(1)
    assert evidence([0.05] * 8) > 20


@pytest.mark.long
def test_the_interval_is_students():
    low, high = interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))
    assert interval([1.0]) == (-math.inf, math.inf)

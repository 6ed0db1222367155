"""The two branches together, by three formulas."""

from math import log

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from drmn.evaluation.calibration import at, optimum, reduce, seen_unseen_curve, smoothed
from drmn.evaluation.ensemble import SHARES, Rule, choose_rule, rule_of
from drmn.evaluation.metrics import harmonic_mean, per_class_accuracy

seeds = st.integers(0, 2**32 - 1)
SEEN = torch.tensor([True, True, True, False, False])


def problem(seed):
    """Scores of 24 images over 3 seen and 2 unseen classes, no two alike."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.randint(3, (12,), generator=chance), torch.tensor([3, 4] * 6)])
    scores = torch.randn(24, 5, generator=chance, dtype=torch.double)
    scores[torch.arange(24), labels] += 1  # better than chance
    return scores, labels


problems = st.builds(problem, seeds)


def test_the_ensemble_mixes_probabilities():
    # softmax of log(1, 2, 3, 4, 10) is 1/20, 2/20, ...; of log(1, 1, 2) it is 1/4, 1/4, 1/2.
    class_logits = torch.tensor([[1.0, 2, 3, 4, 10]]).log()
    global_logits = torch.tensor([[1.0, 1, 2]]).log()
    mixed = Rule(beta=0.2).scores(class_logits, global_logits, SEEN)
    expected = [
        0.8 * 1 / 20 + 0.2 / 4,
        0.8 * 2 / 20 + 0.2 / 4,
        0.8 * 3 / 20 + 0.2 / 2,
        0.8 * 4 / 20,
        0.8 * 10 / 20,
    ]
    assert mixed[0].tolist() == pytest.approx(expected, rel=1e-6)


def test_a_bonus_multiplies_the_odds_of_the_unseen_classes():
    # Equal logits and a bonus of log 2: weights 1, 1, 1, 2, 2 of 7.
    mixed = Rule("bonus", delta=log(2)).scores(torch.zeros(1, 5), None, SEEN)
    assert mixed[0].tolist() == pytest.approx([1 / 7, 1 / 7, 1 / 7, 2 / 7, 2 / 7])


@given(seeds)
def test_without_a_share_the_global_branch_says_nothing(seed):
    chance = torch.Generator().manual_seed(seed)
    class_logits, global_logits = (
        torch.randn(4, 5, generator=chance),
        torch.randn(4, 3, generator=chance),
    )
    expected = class_logits.double().softmax(dim=-1)
    for branch in (global_logits, None):
        torch.testing.assert_close(Rule().scores(class_logits, branch, SEEN), expected)


@given(seeds, st.sampled_from(SHARES), st.floats(-3, 3))
def test_the_ensemble_is_a_probability(seed, share, bonus):
    chance = torch.Generator().manual_seed(seed)
    class_logits, global_logits = (
        torch.randn(4, 5, generator=chance),
        torch.randn(4, 3, generator=chance),
    )
    mixed = Rule("bonus", share, delta=bonus).scores(class_logits, global_logits, SEEN)
    assert (mixed >= 0).all()
    torch.testing.assert_close(mixed.sum(dim=-1), torch.ones(4, dtype=torch.double))


@given(problems, st.sampled_from(SHARES), st.floats(0, 3), st.floats(0, 3))
def test_a_larger_bonus_never_loses_unseen_nor_wins_seen_images(drawn, share, bonus, more):
    scores, labels = drawn
    global_logits = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(0)).double()
    low, high = (
        at(
            reduce(Rule("bonus", share, delta=b).scores(scores, global_logits, SEEN), labels, SEEN),
            0.0,
        )
        for b in (bonus, bonus + more)
    )
    assert high.unseen >= low.unseen - 1e-9
    if share == 0:  # else a bonus can take from the wrong seen class what made it best
        assert high.seen <= low.seen + 1e-9


@given(problems)
def test_no_share_is_chosen_for_a_branch_that_is_not_there(drawn):
    scores, labels = drawn
    rule, leads = choose_rule("mixture", scores, None, labels, SEEN)
    assert rule.beta == 0
    expected = reduce(scores.softmax(dim=-1), labels, SEEN)
    torch.testing.assert_close(leads.lead, expected.lead)


def test_a_global_branch_that_alone_knows_the_seen_classes_is_given_a_share():
    # The attribute branch tells seen from unseen and the unseen classes apart, but no seen ones.
    labels = torch.tensor([0, 1, 2, 3, 4]).repeat(4)
    class_logits = torch.where(SEEN[labels][:, None], 2.0 * SEEN, 0.0)
    class_logits = class_logits + 4.0 * (torch.eye(5)[labels] * ~SEEN)
    global_logits = 6.0 * torch.eye(3)[labels.clamp(max=2)] * SEEN[labels][:, None]
    rule, leads = choose_rule("mixture", class_logits, global_logits, labels, SEEN)
    assert rule.beta > 0
    # Alone it takes all seen images for class 0: S = 1/3.
    alone = optimum(seen_unseen_curve(choose_rule("mixture", class_logits, None, labels, SEEN)[1]))
    assert (alone.unseen, alone.seen) == pytest.approx((1, 1 / 3))
    best = at(leads, rule.gamma)
    assert (best.unseen, best.seen) == pytest.approx((1, 1))


def test_a_global_branch_of_noise_is_given_little_or_none():
    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(5).repeat(20)
    class_logits = 3.0 * torch.eye(5)[labels]
    global_logits = 4 * torch.randn(100, 3, generator=chance)
    assert choose_rule("mixture", class_logits, global_logits, labels, SEEN)[0].beta <= 0.1


def test_logits_are_weighted_where_classes_are_seen():
    class_logits, global_logits = torch.tensor([[1.0, 2, 3, 4, 5]]), torch.tensor([[10.0, 20, 30]])
    scores = Rule("logits", beta=0.25, gamma=2.0).scores(class_logits, global_logits, SEEN)
    expected = [0.75 + 2.5 - 2, 1.5 + 5 - 2, 2.25 + 7.5 - 2, 3, 3.75]
    assert scores[0].tolist() == pytest.approx(expected)


@pytest.mark.long
@given(problems, st.sampled_from(["mixture", "bonus", "logits"]))
def test_a_chosen_rule_scores_as_it_was_judged(drawn, formula):
    scores, labels = drawn
    global_logits = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(0)).double()
    rule, leads = choose_rule(formula, scores, global_logits, labels, SEEN)
    guesses = rule.scores(scores, global_logits, SEEN).argmax(dim=1)
    outcome = at(leads, rule.gamma)
    assume(((leads.lead - rule.gamma).abs() > 1e-9).all())  # gamma may lie on an image's lead
    for side, accuracy in ((SEEN, outcome.seen), (~SEEN, outcome.unseen)):
        own = side[labels]
        assert per_class_accuracy(guesses[own], labels[own]) == pytest.approx(accuracy)


def test_a_bonus_finds_unseen_images_behind_a_lead_of_the_seen_classes():
    # Every image's best class is right on its own side, and seen logits lead by 5 or by 1.
    labels = torch.tensor([0, 1, 2, 3, 4]).repeat(3)
    class_logits = 4.0 * torch.eye(5)[labels] + torch.where(SEEN, 3.0, 0.0)
    rule, leads = choose_rule("bonus", class_logits, None, labels, SEEN)
    assert rule.gamma == 0
    assert rule.delta > 0
    assert (at(leads, 0.0).seen, at(leads, 0.0).unseen) == pytest.approx((1, 1))


@pytest.mark.long
@settings(max_examples=8)
@given(problems)
def test_a_bonus_is_the_best_of_its_grid_by_the_smoothed_rule(drawn):
    scores, labels = drawn
    global_logits = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(0)).double()
    _, leads = choose_rule("bonus", scores, global_logits, labels, SEEN)
    lead = scores[:, SEEN].amax(dim=1) - scores[:, ~SEEN].amax(dim=1)
    found = []
    for beta in SHARES:
        for place in range(16):
            delta = float(lead.quantile(place / 15))
            other = reduce(
                Rule("bonus", beta, delta=delta).scores(scores, global_logits, SEEN), labels, SEEN
            )
            found.append(slowly_smoothed(other))
    assert slowly_smoothed(leads) == pytest.approx(max(found))
    assert slowly_smoothed(leads) == pytest.approx(smoothed(leads, 0.0))


def slowly_smoothed(leads):
    """H with the step at 0 replaced by a logistic of 0.45 standard deviations of the leads."""
    taken = 1 / (1 + (-leads.lead / (0.45 * leads.lead.std(correction=0))).exp())
    seen = float((leads.weight * taken)[~leads.unseen].sum())
    return harmonic_mean(float((leads.weight * (1 - taken))[leads.unseen].sum()), seen)


def test_a_rule_is_read_off_the_metrics_of_an_epoch():
    metrics = {"val/beta": 0.1, "val/gamma": 0.2, "val/delta": 0.3, "val/H": 1.0}
    assert rule_of("logits", metrics) == Rule("logits", 0.1, 0.2, 0.3)

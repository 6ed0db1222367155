"""Calibrated stacking against brute force: argmax over all classes at every gamma."""

from itertools import pairwise
from math import exp, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drmn.evaluation.calibration import (
    Leads,
    at,
    choose_gamma,
    optimum,
    reduce,
    seen_unseen_curve,
    standard_error,
)
from drmn.evaluation.metrics import harmonic_mean, per_class_accuracy

seeds = st.integers(0, 2**32 - 1)
SEEN = torch.tensor([True, True, True, False, False])


def problem(seed, *, tied=False):
    """Scores of 24 images over 3 seen and 2 unseen classes; whole numbers if `tied`."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.randint(3, (12,), generator=chance), torch.tensor([3, 4] * 6)])
    scores = torch.randn(24, 5, generator=chance, dtype=torch.double)
    scores[torch.arange(24), labels] += 1  # better than chance
    return (scores.round() if tied else scores), labels


problems = st.builds(lambda seed, tied: problem(seed, tied=tied), seeds, st.booleans())


def brute(scores, labels, gamma):
    """U and S of the argmax of the calibrated scores; of equals an unseen class is taken."""
    calibrated = scores - gamma * SEEN
    order = torch.tensor([3, 4, 0, 1, 2])
    guesses = order[calibrated[:, order].argmax(dim=1)]
    unseen = ~SEEN[labels]
    return (
        per_class_accuracy(guesses[unseen], labels[unseen]),
        per_class_accuracy(guesses[~unseen], labels[~unseen]),
    )


def every_gamma(scores):
    """All gammas at which any image changes sides, with points between and beyond them."""
    lead = scores[:, SEEN].amax(dim=1) - scores[:, ~SEEN].amax(dim=1)
    steps = lead.unique()
    between = (steps[1:] + steps[:-1]) / 2
    return [*between.tolist(), *steps.tolist(), float(steps[0] - 1), float(steps[-1] + 1)]


def close(first, second):
    return first == pytest.approx(second, abs=1e-9)


# Exactness


@pytest.mark.long
@settings(max_examples=200)
@given(problems)
def test_the_curve_has_every_outcome_of_brute_force_and_no_other(drawn):
    scores, labels = drawn
    made = seen_unseen_curve(reduce(scores, labels, SEEN))
    have = list(zip(made.unseen.tolist(), made.seen.tolist(), strict=True))
    want = [brute(scores, labels, gamma) for gamma in every_gamma(scores)]
    assert all(any(close(one, other) for other in have) for one in want)
    assert all(any(close(one, other) for other in want) for one in have)


@pytest.mark.long
@settings(max_examples=200)
@given(problems)
def test_each_gamma_of_the_curve_gives_what_the_curve_says(drawn):
    scores, labels = drawn
    made = seen_unseen_curve(reduce(scores, labels, SEEN))
    for gamma, unseen, seen in zip(made.gamma, made.unseen, made.seen, strict=True):
        assert close((float(unseen), float(seen)), brute(scores, labels, float(gamma)))


@pytest.mark.long
@settings(max_examples=200)
@given(problems)
def test_the_optimum_is_the_best_of_brute_force(drawn):
    scores, labels = drawn
    found = optimum(seen_unseen_curve(reduce(scores, labels, SEEN)))
    best = max(harmonic_mean(*brute(scores, labels, gamma)) for gamma in every_gamma(scores))
    assert close(found.harmonic, best)
    assert close((found.unseen, found.seen), brute(scores, labels, found.gamma))


@pytest.mark.long
@settings(max_examples=200)
@given(problems)
def test_the_area_is_that_under_the_points_of_brute_force(drawn):
    scores, labels = drawn
    points = [brute(scores, labels, gamma) for gamma in sorted(every_gamma(scores))]
    area = sum((s0 - s1) * (u0 + u1) / 2 for (u0, s0), (u1, s1) in pairwise(points))
    assert close(seen_unseen_curve(reduce(scores, labels, SEEN)).ausuc, area)


@settings(max_examples=200)
@given(problems, st.integers(-12, 12).map(lambda quarters: quarters / 4))
def test_any_gamma_gives_what_brute_force_gives(drawn, gamma):
    # Quarters, so that with whole scores a gamma is often exactly on a step.
    scores, labels = drawn
    outcome = at(reduce(scores, labels, SEEN), gamma)
    assert outcome.gamma == gamma
    assert close((outcome.unseen, outcome.seen), brute(scores, labels, gamma))


def test_a_curve_that_can_be_drawn_with_a_pencil():
    # Leads 3 and 1 of two seen images; 2 and -1 of two unseen ones; all right on their own side.
    # Rising gamma passes -1 (U 1/2), 1 (S 1/2), 2 (U 1), 3 (S 0).
    scores = torch.tensor([[3.0, 0.0], [1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]])
    made = seen_unseen_curve(
        reduce(scores, torch.tensor([0, 0, 1, 1]), torch.tensor([True, False]))
    )
    assert made.gamma.tolist() == [-1 - 1, 0, 1.5, 2.5, 3 + 1]
    assert made.unseen.tolist() == [0, 1 / 2, 1 / 2, 1, 1]
    assert made.seen.tolist() == [1, 1, 1 / 2, 1 / 2, 0]
    assert optimum(made).gamma == 0
    assert optimum(made).harmonic == pytest.approx(2 / 3)  # 2 * 1 * 1/2 / (3/2), as at 2.5
    assert made.ausuc == pytest.approx(1 / 2 * 1 / 2 + 1 / 2 * 1)


def test_equal_leads_are_passed_in_one_step():
    # One seen and one unseen image with one lead: no gamma is right about both.
    scores = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    made = seen_unseen_curve(reduce(scores, torch.tensor([0, 1]), torch.tensor([True, False])))
    assert made.unseen.tolist() == [0, 1]
    assert made.seen.tolist() == [1, 0]
    assert optimum(made).harmonic == 0


def test_images_that_are_wrong_on_their_own_side_make_no_step():
    # Image 0 takes seen class 1 for 0 and is wrong at every gamma.
    scores = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 1.0], [0.0, 0.0, 4.0]])
    seen = torch.tensor([True, True, False])
    leads = reduce(scores, torch.tensor([0, 0, 2]), seen)
    assert leads.lead.tolist() == [1, 2, -4]
    assert leads.weight.tolist() == [0, 1 / 2, 1]
    assert len(seen_unseen_curve(leads).gamma) == 2 + 1


def test_where_nothing_is_right_all_is_zero():
    wrong = torch.tensor([[0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]])
    seen = torch.tensor([True, True, False, False])
    leads = reduce(wrong, torch.tensor([0, 3]), seen)
    assert optimum(seen_unseen_curve(leads)).harmonic == 0
    assert seen_unseen_curve(leads).ausuc == 0
    assert choose_gamma(leads) == (0, 0)


def test_leads_do_not_depend_on_where_the_seen_classes_stand():
    scores, labels = problem(0)
    order = torch.tensor([4, 0, 3, 2, 1])
    moved = reduce(scores[:, order], order.argsort()[labels], SEEN[order])
    usual = reduce(scores, labels, SEEN)
    torch.testing.assert_close(moved.lead, usual.lead)
    torch.testing.assert_close(moved.weight, usual.weight)


# The choice of gamma


def smoothed(leads, gamma):
    """H with the step replaced by a logistic of 0.45 standard deviations, one image at a time."""
    spread = leads.lead.std(correction=0)
    seen = unseen = 0.0
    for lead, other, weight in zip(leads.lead, leads.unseen, leads.weight, strict=True):
        taken = 1 / (1 + exp(-float((lead - gamma) / (0.45 * spread))))
        seen += 0 if other else float(weight) * taken
        unseen += float(weight) * (1 - taken) if other else 0
    return harmonic_mean(unseen, seen)


@given(problems)
def test_the_chosen_gamma_lies_among_the_leads(drawn):
    leads = reduce(*drawn, SEEN)
    gamma, expected = choose_gamma(leads)
    counted = leads.lead[leads.weight > 0]
    assert counted.min() <= gamma <= counted.max()
    assert 0 <= expected <= 1


@given(problems)
def test_the_chosen_gamma_is_the_best_by_the_smoothed_rule(drawn):
    leads = reduce(*drawn, SEEN)
    gamma, expected = choose_gamma(leads)
    assert expected == pytest.approx(smoothed(leads, gamma))
    counted = leads.lead[leads.weight > 0]
    grid = torch.linspace(float(counted.min()), float(counted.max()), 50)
    assert expected >= max(smoothed(leads, other) for other in grid.tolist()) - 1e-3


@given(problems)
def test_no_choice_is_better_than_the_optimum(drawn):
    leads = reduce(*drawn, SEEN)
    assert (
        at(leads, choose_gamma(leads)[0]).harmonic
        <= optimum(seen_unseen_curve(leads)).harmonic + 1e-9
    )


@given(problems, st.integers(-6, 6))
def test_gamma_grows_with_the_scores(drawn, power):
    # By a power of two, so that nothing is rounded.
    scores, labels = drawn
    usual, scaled = (reduce(x, labels, SEEN) for x in (scores, scores * 2.0**power))
    assert choose_gamma(scaled) == (choose_gamma(usual)[0] * 2.0**power, choose_gamma(usual)[1])
    assert optimum(seen_unseen_curve(scaled)).harmonic == optimum(seen_unseen_curve(usual)).harmonic


@given(problems, st.integers(-8, 8))
def test_gamma_moves_with_the_seen_scores(drawn, ahead):
    scores, labels = drawn
    usual, moved = (reduce(x, labels, SEEN) for x in (scores, scores + ahead * SEEN))
    assert choose_gamma(moved)[1] == pytest.approx(choose_gamma(usual)[1])
    assert at(moved, choose_gamma(usual)[0] + ahead + 1e-9).harmonic == pytest.approx(
        at(usual, choose_gamma(usual)[0] + 1e-9).harmonic
    )


def test_equal_leads_give_a_gamma_and_no_nan():
    leads = reduce(torch.tensor([[1.0, 0.0]] * 2), torch.tensor([0, 1]), SEEN[2:4])
    assert choose_gamma(leads) == (1, pytest.approx(1 / 2))


def of_classes(seen, unseen, images, chance):
    """Leads of classes drawn from a world where each class has an offset of its own."""
    labels = torch.arange(seen + unseen).repeat_interleave(images)
    other = labels >= seen
    offset = 0.5 * torch.randn(seen + unseen, generator=chance, dtype=torch.double)
    noise = torch.randn(len(labels), generator=chance, dtype=torch.double)
    lead = torch.where(other, -0.5, 1.0) + offset[labels] + noise
    right = torch.rand(len(labels), generator=chance) < torch.where(other, 0.7, 0.8)
    size = torch.where(other, images * unseen, images * seen).double()
    return Leads(lead, other, right / size, labels)


@pytest.mark.parametrize(("seen", "unseen", "images"), [(12, 3, 8), (27, 3, 20)])
def test_on_other_classes_the_chosen_gamma_loses_less_than_the_optimum_of_few(seen, unseen, images):
    chance = torch.Generator().manual_seed(0)
    others = of_classes(300, 300, 30, chance)
    gain = []
    for _ in range(100):
        few = of_classes(seen, unseen, images, chance)
        chosen, exact = choose_gamma(few)[0], optimum(seen_unseen_curve(few)).gamma
        gain.append(at(others, chosen).harmonic - at(others, exact).harmonic)
    mean, error = sum(gain) / 100, float(torch.tensor(gain).std()) / sqrt(100)
    assert mean > 2 * error


# How sure it is


def one_class_each_side(accuracies, images=4):
    """Leads of seen classes with those accuracies at gamma 0 and one unseen class, all right."""
    hits = [[2 * (i < round(share * images)) - 1 for i in range(images)] for share in accuracies]
    lead = torch.tensor([*sum(hits, []), *[-1] * images], dtype=torch.double)  # noqa: RUF017
    labels = torch.arange(len(accuracies) + 1).repeat_interleave(images)
    unseen = labels == len(accuracies)
    weight = torch.where(unseen, 1 / images, 1 / (images * len(accuracies))).double()
    return Leads(lead, unseen, weight, labels)


@pytest.mark.parametrize("accuracy", [1.0, 0.5, 0.25])
def test_the_standard_error_is_zero_if_all_classes_are_alike(accuracy):
    leads = one_class_each_side([accuracy] * 5)
    assert standard_error(leads, 0.0) == pytest.approx(0, abs=1e-12)


def test_the_standard_error_of_two_classes():
    # Of two seen classes, right 1 and 0, a resample has both from the first (S = 1) with chance
    # 1/4, one of each (1/2) with 1/2, both from the second (0) with 1/4; U = 1 throughout. So H is
    # 1, 2/3 or 0, with mean 7/12 and variance 1/4 + 4/9/2 - (7/12)^2 = 19/144.
    leads = one_class_each_side([1.0, 0.0])
    # 200 resamples know a standard deviation to about 5 %.
    assert standard_error(leads, 0.0) == pytest.approx(sqrt(19) / 12, rel=0.15)


def test_more_classes_make_the_standard_error_smaller():
    # By sqrt(16) between two classes and thirty-two.
    two, many = (standard_error(one_class_each_side([1.0, 0.5] * n), 0.0) for n in (1, 16))
    assert many == pytest.approx(two / 4, rel=0.3)


@given(problems)
def test_the_standard_error_is_the_same_each_time(drawn):
    leads = reduce(*drawn, SEEN)
    torch.manual_seed(1)
    first = standard_error(leads, 0.1)
    torch.manual_seed(2)
    assert standard_error(leads, 0.1) == first


def test_the_standard_error_uses_no_chance_of_the_training():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    standard_error(reduce(*problem(0), SEEN), 0.0)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)

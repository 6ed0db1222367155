"""The loss terms, by numbers that can be checked with a pencil."""

from dataclasses import replace
from math import exp, log, sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drmn.config import LossConfig, ModelConfig
from drmn.data.splits.development import Classes
from drmn.model.network import Scores
from drmn.training.losses import calibrate, classify, regress, total

SEEN = torch.tensor([True, True, False])

# Cosines with (3, 4): 3/5 and 4/5 for the seen classes, -4/5 for the unseen one.
CLASSES = Classes(
    names=("a", "b", "c"),
    attributes=torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]),
    seen=SEEN,
)
SCORES = Scores(
    attributes=torch.tensor([[3.0, 4.0]]),
    interacted_scores=None,
    global_logits=torch.tensor([[log(3), 0.0]]),
)
LABELS = torch.tensor([0])
MODEL = ModelConfig(scale=sqrt(5.0))  # logits 3, 4 and -4


def test_classify_looks_at_the_seen_classes_alone():
    # Odds 3 : 1 between the seen classes, whatever the unseen one has.
    logits = torch.tensor([[log(3), 0.0, 40.0], [log(3), 0.0, -40.0]])
    loss = classify(logits, torch.tensor([0, 1]), SEEN)
    assert loss.item() == pytest.approx((log(4 / 3) + log(4)) / 2)


def test_classify_over_all_classes_takes_the_unseen_one_for_a_candidate():
    # Odds 3 : 1 : 2 of all three classes.
    logits = torch.tensor([[log(3), 0.0, log(2)]])
    loss = classify(logits, torch.tensor([0]), SEEN, "all")
    assert loss.item() == pytest.approx(log(2))


def test_the_candidates_of_the_loss_are_a_setting():
    losses = [
        total(LossConfig(classes=which), MODEL, SCORES, CLASSES, LABELS)[1]["attribute_branch"]
        for which in ("seen", "all")
    ]
    # Logits 3, 4 and -4.
    assert losses[0].item() == pytest.approx(log(1 + exp(1)))
    assert losses[1].item() == pytest.approx(log(1 + exp(1) + exp(-7)))


def test_calibrate_of_equal_logits():
    # The shift gives weights e, 1/e, 1/e to one unseen and two seen classes: p(U) = e / (e + 2/e).
    assert calibrate(torch.zeros(2, 3), SEEN).item() == pytest.approx(log(1 + 2 * exp(-2)))


def test_calibrate_averages_probabilities_and_not_their_logarithms():
    # One image surely unseen, one surely seen: the mean probability is 1/2, its loss log 2.
    logits = torch.tensor([[0.0, 0.0, 50.0], [0.0, 0.0, -50.0]])
    assert calibrate(logits, SEEN).item() == pytest.approx(log(2))


def test_calibrate_sums_over_the_unseen_classes():
    # Weights e, e against 1/e: p(U) = 2e / (2e + 1/e).
    loss = calibrate(torch.zeros(1, 3).double(), torch.tensor([True, False, False]))
    assert loss.item() == pytest.approx(log(1 + exp(-2) / 2))


def test_calibrate_is_finite_where_the_probability_underflows():
    logits = torch.tensor([[0.0, 0.0, -1e4]], requires_grad=True)
    loss = calibrate(logits, SEEN)
    loss.backward()
    # 1e4 below two equal classes, 2 of which the shift gives back.
    assert loss.item() == pytest.approx(1e4 - 2 + log(2))
    assert logits.grad.isfinite().all()


@given(st.integers(0, 2**32 - 1))
def test_calibrate_matches_the_formula_written_out(seed):
    logits = 5 * torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
    mass = 0.0
    for image in logits.tolist():
        weight = [exp(o - 1) if s else exp(o + 1) for o, s in zip(image, SEEN, strict=True)]
        mass += weight[2] / sum(weight) / len(logits)
    assert calibrate(logits, SEEN).item() == pytest.approx(-log(mass), rel=1e-4, abs=1e-5)


def test_regress_is_the_squared_distance_of_directions_averaged_over_images():
    # Along the class: 0. At right angles: 2. Against it: 4. Lengths do not matter.
    scores = torch.tensor([[9.0, 0.0], [0.0, 0.1], [-2.0, 0.0]])
    loss = regress(scores, CLASSES.attributes, torch.tensor([0, 0, 0]))
    assert loss.item() == pytest.approx((0 + 2 + 4) / 3)


# The sum of the terms

CE = log(1 + exp(4 - 3))  # logits 3 and 4, the first is right
SC = log(1 + (exp(3 - 1) + exp(4 - 1)) / exp(-4 + 1))
AR = (3 / 5 - 1) ** 2 + (4 / 5) ** 2
GC = log(4 / 3)  # odds 3 : 1 for the right one


def test_the_total_is_the_sum_of_the_terms_by_their_weights():
    weights = LossConfig(global_branch=0.5, self_calibration=0.2, attribute_regression=3.0)
    loss, terms = total(weights, MODEL, SCORES, CLASSES, LABELS)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {
            "attribute_branch": CE,
            "self_calibration": SC,
            "attribute_regression": AR,
            "global_branch": GC,
        }
    )
    assert loss.item() == pytest.approx(CE + 0.2 * SC + 3 * AR + 0.5 * GC)


def test_the_attribute_terms_are_averaged_over_both_views_and_the_global_one_is_not():
    # The second view says the opposite: logits -3, -4 and 4.
    both = replace(SCORES, interacted_scores=-SCORES.attributes)
    weights = LossConfig(global_branch=0.5, self_calibration=0.2, attribute_regression=3.0)
    loss, terms = total(weights, MODEL, both, CLASSES, LABELS)
    ce = (CE + log(1 + exp(-4 + 3))) / 2
    sc = (SC + log(1 + (exp(-3 - 1) + exp(-4 - 1)) / exp(4 + 1))) / 2
    ar = (AR + (-3 / 5 - 1) ** 2 + (4 / 5) ** 2) / 2
    assert terms["attribute_branch"].item() == pytest.approx(ce)
    assert terms["self_calibration"].item() == pytest.approx(sc)
    assert terms["global_branch"].item() == pytest.approx(GC)
    assert loss.item() == pytest.approx(ce + 0.2 * sc + 3 * ar + 0.5 * GC)


# A global branch keeps its term at weight 0: several workers sum the gradient of every parameter.
FULL = {"attribute_branch", "self_calibration", "global_branch"}


@pytest.mark.parametrize(
    ("weights", "scores", "left"),
    [
        (LossConfig(self_calibration=0.1), SCORES, FULL),
        (LossConfig(), SCORES, {"attribute_branch", "global_branch"}),
        (LossConfig(global_branch=0.0, self_calibration=0.1), SCORES, FULL),
        (
            LossConfig(self_calibration=0.1),
            replace(SCORES, global_logits=None),
            {"attribute_branch", "self_calibration"},
        ),
        (
            LossConfig(global_branch=0.0),
            replace(SCORES, global_logits=None),
            {"attribute_branch"},
        ),
        (
            LossConfig(attribute_regression=1.0),
            SCORES,
            {"attribute_branch", "attribute_regression", "global_branch"},
        ),
    ],
)
def test_a_term_without_a_weight_or_a_branch_is_not_there(weights, scores, left):
    assert total(weights, MODEL, scores, CLASSES, LABELS)[1].keys() == left


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e30])
@pytest.mark.parametrize("sign", [1, -1])
def test_gradients_are_finite_at_the_largest_scale_and_any_length_of_scores(value, sign):
    scores = torch.tensor([[sign * value, -value], [0.0, 1.0]], requires_grad=True)
    logits = torch.tensor([[-1e4, 1e4], [0.0, 0.0]], requires_grad=True)
    weights = LossConfig(global_branch=100.0, self_calibration=100.0, attribute_regression=100.0)
    made = Scores(attributes=scores, interacted_scores=2 * scores, global_logits=logits)
    loss, _ = total(weights, ModelConfig(scale=20.0), made, CLASSES, torch.tensor([0, 1]))
    loss.backward()
    assert loss.isfinite()
    assert scores.grad.isfinite().all()
    assert logits.grad.isfinite().all()

"""The linear baselines."""

from dataclasses import replace
from itertools import product

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from drmn.config import FORMULAS, ModelConfig, RunConfig
from drmn.data.splits import development
from drmn.evaluation import baselines, pooled_features
from drmn.evaluation.baselines import (
    POWERS,
    Scoring,
    bilinear,
    eszsl,
    fit_baselines,
    ridge,
    strongest,
)
from drmn.evaluation.pooled_features import Pooling, Problem, poolings, pools_of, problem_of
from drmn.training.loop import fit

PLAIN = Scoring(centred=False, cosine=False)
CENTRED = Scoring(centred=True, cosine=True)
MEANS = Pooling((32,), maxima=False, unit=False)
PAIRS = list(product(POWERS, repeat=2))


@pytest.fixture(scope="module")
def found(toy):
    return {line.name: line for line in fit_baselines(toy)}


@pytest.fixture(scope="module", params=["ESZSL", "cosine", "softmax"])
def best(found, request):
    return found[request.param]


def problem(x, labels, attributes, seen, val=None):
    """A problem whose validation images are the unit vectors, so scores show the weights."""
    val = torch.eye(x.shape[1]).double() if val is None else val
    labels = torch.tensor(labels)
    return Problem(x, labels, val, torch.zeros(len(val), dtype=torch.long), attributes, seen)


def drawn(images=12, features=4, attributes=5, seen=3, unseen=2):
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(images, features, generator=chance, dtype=torch.double)
    z = torch.randn(seen + unseen, attributes, generator=chance, dtype=torch.double)
    which = torch.arange(seen + unseen) < seen
    return problem(x, [i % seen for i in range(images)], z, which)


def test_the_closed_form_of_two_images_one_feature_and_one_attribute():
    # X = (1, -1), labels 0 and 1, S = (2, 1): Y = (1, -1; -1, 1), so X'Y = (2, -2), X'YS = 2,
    # X'X = 2 and S'S = 5: V = 2 / ((2 + gamma) (5 + lambda)); scores of x = 1 are 2 V and V.
    x, s = torch.tensor([[1.0], [-1.0]]).double(), torch.tensor([[2.0], [1.0]]).double()
    made = problem(x, [0, 1], s, torch.tensor([True, True]))
    for candidate in eszsl(made, PLAIN, PAIRS):
        gamma, lam = 2 * 10.0 ** candidate.powers[0], 10.0 ** candidate.powers[1]
        v = 2 / ((2 + gamma) * (5 + lam))
        assert candidate.scores[0].tolist() == pytest.approx([2 * v, v])


def test_every_solution_makes_the_gradient_of_its_objective_zero():
    # |X V S' - Y|^2 + gamma |V S'|^2 + lambda |X V|^2 + gamma lambda |V|^2, as the paper has it.
    made = drawn()
    x, s = made.train, made.attributes[made.seen]
    # With an orthogonal matrix for attributes of "unseen" classes the scores there are V itself.
    whole = replace(
        made,
        attributes=torch.cat([s, torch.eye(5).double()]),
        seen=torch.arange(8) < 3,
    )
    y = 2 * torch.eye(3, dtype=torch.double)[made.labels] - 1
    for candidate in eszsl(whole, PLAIN, PAIRS):
        v = candidate.scores[:, 3:].clone().requires_grad_()
        gamma, lam = 12 * 10.0 ** candidate.powers[0], 10.0 ** candidate.powers[1]
        objective = (
            (x @ v @ s.T - y).square().sum()
            + gamma * (v @ s.T).square().sum()
            + lam * (x @ v).square().sum()
            + gamma * lam * v.square().sum()
        )
        objective.backward()
        assert v.grad.abs().max() < 1e-6 * (1 + gamma) * (1 + lam)


def test_the_regression_of_two_images_onto_one_attribute():
    # X = (1, -1), attributes 2 and 1 with the mean 3/2: X'(Z - z) = 1/2 + 1/2 = 1, X'X = 2.
    x, s = torch.tensor([[1.0], [-1.0]]).double(), torch.tensor([[2.0], [1.0]]).double()
    made = problem(x, [0, 1], s, torch.tensor([True, True]))
    for candidate in ridge(made, Scoring(centred=True, cosine=False), [(p,) for p in POWERS]):
        w = 1 / (2 + 2 * 10.0 ** candidate.powers[0])
        assert candidate.scores[0].tolist() == pytest.approx([w / 2, -w / 2])


def test_the_regression_is_a_ridge_written_out():
    # Row by row: sum over images of |w'x - z|^2 + gamma |w|^2, solved by adding gamma's root as
    # images of their own whose target is 0.
    made = drawn()
    mean = sum(made.attributes[:3]) / 3
    classes = torch.cat([made.attributes[:3], mean + torch.eye(5).double()])
    whole = replace(made, attributes=classes, seen=torch.arange(8) < 3)
    for candidate in ridge(whole, Scoring(centred=True, cosine=False), [(p,) for p in POWERS]):
        weights = candidate.scores[:, 3:]
        extra = (12 * 10.0 ** candidate.powers[0]) ** 0.5 * torch.eye(4, dtype=torch.double)
        for a in range(5):
            targets = torch.stack([made.attributes[label, a] - mean[a] for label in made.labels])
            rows, wanted = torch.cat([made.train, extra]), torch.cat([targets, torch.zeros(4)])
            slow = torch.linalg.lstsq(rows, wanted[:, None]).solution[:, 0]
            torch.testing.assert_close(weights[:, a], slow)


def test_cosines_are_of_the_differences_from_the_mean_seen_class():
    # The seen classes (2, 0) and (0, 2) have the mean (1, 1); the unseen one (4, 1) is (3, 0) off.
    classes = torch.tensor([[2.0, 0], [0, 2], [4, 1]]).double()
    seen = torch.tensor([True, True, False])
    made = problem(torch.tensor([[1.0], [-1.0]]).double(), [0, 1], classes, seen)
    (candidate,) = ridge(made, CENTRED, [(0.0,)])
    # The image's attributes are along (1, -1).
    wanted = torch.tensor([[1.0, -1.0, 2**-0.5]]).double()
    torch.testing.assert_close(candidate.scores, wanted)


def test_the_softmax_model_is_at_the_minimum_of_its_loss():
    made = drawn()
    classes = F.normalize(made.attributes - made.attributes[:3].mean(dim=0), dim=1)
    (candidate,) = bilinear(made, powers=[-1.0])
    # Of unit vectors as validation images the scores are W z.
    w = (torch.linalg.lstsq(classes, candidate.scores.T).solution.T).requires_grad_()
    logits = baselines.SCALE * made.train @ w @ classes[:3].T
    loss = F.cross_entropy(logits, made.labels) + 0.1 * w.square().sum()
    loss.backward()
    assert w.grad.abs().max() < 1e-3


@pytest.mark.long
def test_the_line_to_beat_is_the_strongest_one(found):
    most = max(line.metrics["val/H"] for line in found.values())
    assert strongest(list(found.values())).metrics["val/H"] == most


def test_all_features_are_standardised_by_those_of_train(toy):
    made = problem_of(toy, pools_of(toy), MEANS)
    pooled = toy.train.batch(torch.arange(48)).inputs[32].mean(dim=1).double()
    assert made.train.mean(dim=0).abs().max() < 1e-6
    torch.testing.assert_close(made.train.std(dim=0), torch.ones(12).double())
    own = toy.val_seen.batch(torch.arange(len(toy.val_seen))).inputs[32].mean(dim=1).double()
    wanted = (own - pooled.mean(dim=0)) / pooled.std(dim=0)
    torch.testing.assert_close(made.val[: len(own)], wanted)


def test_maxima_stand_beside_the_means_and_unit_vectors_have_one_length(toy):
    made = problem_of(toy, pools_of(toy), Pooling((16, 32), maxima=True, unit=True))
    assert made.train.shape[1] == 2 * (8 + 12)
    for part in (made.train, made.val):
        lengths = torch.full((len(part),), 40**0.5).double()
        torch.testing.assert_close(part.norm(dim=1), lengths)


def test_a_combination_that_is_too_wide_is_left_out(toy, monkeypatch):
    monkeypatch.setattr(pooled_features, "WIDEST", 12)
    pooled = {str(p) for p in poolings(toy, pools_of(toy))}
    assert pooled == {str(replace(MEANS, unit=unit)) for unit in (False, True)}


@pytest.mark.long
def test_the_number_of_candidates_is_stated(found):
    # Two choices of levels, maxima and unit length each; four scorings; and half powers around.
    assert found["ESZSL"].candidates == 8 * 4 * 49 + 8
    assert found["cosine"].candidates == 8 * 7 + 2
    assert found["softmax"].candidates == len(baselines.SOFTMAX_POWERS)


@pytest.mark.long
def test_the_baseline_learns_the_toy_data(best):
    # Chance is 1/3 among the three validation classes.
    assert best.metrics["val/T1"] > 0.6
    assert best.metrics["val/H"] > 0.6


@pytest.mark.long
def test_the_baseline_is_judged_by_the_metrics_of_drmn(best, toy):
    epoch = next(fit(RunConfig(model=ModelConfig(sit="none")), toy))
    ours = {name for name in epoch.metrics if name.startswith("val/")}
    assert best.metrics.keys() == ours - {f"val/H_{formula}" for formula in FORMULAS}


@pytest.mark.long
def test_the_baselines_have_no_chance_in_them(found, toy):
    torch.manual_seed(1)
    assert list(found.values()) == fit_baselines(toy)


@pytest.mark.long
def test_one_level_is_enough(toy_store):
    found = fit_baselines(development.open_store(toy_store, levels="16"))
    assert [line.levels for line in found] == ["16"] * 3


@pytest.mark.long
def test_attributes_of_other_classes_bring_them_near_chance(toy_store):
    data = development.open_store(toy_store, levels="32")
    accuracies = {name: [] for name in ("ESZSL", "cosine", "softmax")}
    for shift in range(1, 9):
        moved = replace(data.classes, attributes=data.classes.attributes.roll(shift, dims=0))
        for line in fit_baselines(replace(data, classes=moved)):
            accuracies[line.name].append(line.metrics["val/T1"])
    # Chance is 1/3.
    assert all(sum(found) / 8 < 0.5 for found in accuracies.values())

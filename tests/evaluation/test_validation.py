"""What a network is worth: predictions, and the figures of validation."""

from dataclasses import replace

import pytest
import torch

from drmn.config import FORMULAS, ModelConfig, RunConfig
from drmn.data.splits.development import Classes
from drmn.errors import DataError
from drmn.evaluation.validation import Predictions, conventional, judge, predict, without_imagenet
from drmn.training.loop import build_head

CONFIG = RunConfig(model=ModelConfig(sit="attr", scale=3.0))
VAL = frozenset({"val"})


def test_logits_have_a_column_for_each_development_class_and_no_other(toy):
    model = build_head(CONFIG, toy.classes, toy.channels)
    made = predict(CONFIG, model, [toy.val_unseen], toy.classes)
    # Six train classes and three validation classes.
    assert made.class_logits.shape == (30, 6 + 3)
    assert made.global_logits.shape == (30, 6)


def test_predictions_are_of_evaluation_and_stand_in_the_order_of_the_images(toy):
    model = build_head(CONFIG, toy.classes, toy.channels).train()
    made = predict(CONFIG, model, [toy.val_seen], toy.classes)
    assert torch.equal(made.labels, toy.val_seen.labels)
    one = model.eval()(toy.val_seen.batch(torch.tensor([7])).inputs)
    torch.testing.assert_close(made.global_logits[7], one.global_logits[0])


CLASSES = Classes(
    names=tuple("abcd"),
    attributes=torch.eye(4),
    seen=torch.tensor([True, True, False, False]),
)


def test_t1_looks_at_the_unseen_classes_alone():
    # However much a seen class scores. Class 2: 1 of 2 right; class 3: 1 of 1.
    scores = torch.tensor([[99.0, 0, 2, 1], [99, 0, 1, 2], [0, 99, -2, -1]])
    made = Predictions(scores, None, torch.tensor([2, 2, 3]), VAL)
    assert conventional(made, CLASSES.seen) == pytest.approx((1 / 2 + 1) / 2)


@pytest.mark.parametrize(
    ("parts", "words"),
    [({"test"}, "these are test images"), ({"val", "test"}, "these are test and val images")],
)
def test_gamma_is_not_chosen_on_test_images(parts, words):
    made = Predictions(torch.eye(4), None, torch.arange(4), frozenset(parts))
    with pytest.raises(DataError, match=f"gamma and beta are chosen on val images alone; {words}"):
        judge(made, CLASSES.seen)


def test_predictions_know_what_their_images_are_for(toy):
    model = build_head(CONFIG, toy.classes, toy.channels)
    splits = [toy.val_seen, replace(toy.val_unseen, part="test")]
    made = predict(CONFIG, model, splits, toy.classes)
    assert made.parts == {"val", "test"}
    with pytest.raises(DataError, match="gamma and beta are chosen on val images alone"):
        judge(made, toy.classes.seen)


def test_a_perfect_network_is_judged_so():
    made = judge(Predictions(9 * torch.eye(4), None, torch.arange(4), VAL), CLASSES.seen)
    perfect = dict.fromkeys(("T1", "U", "S", "H", "H_optimal", "AUSUC"), 1.0)
    assert made == pytest.approx(
        {f"val/{name}": value for name, value in perfect.items()}
        | {f"val/H_{formula}": 1.0 for formula in FORMULAS}
        | {"val/H_se": 0, "val/beta": 0, "val/delta": 0, "val/gamma": made["val/gamma"]}
        | {"val/kept": 1.0}  # no seen image is held back
    )


@pytest.mark.parametrize("formula", FORMULAS)
def test_every_formula_is_judged_beside_the_one_in_use(formula):
    chance = torch.Generator().manual_seed(0)
    scores = torch.randn(40, 4, generator=chance)
    found = Predictions(scores, torch.randn(40, 2, generator=chance), torch.arange(40) % 4, VAL)
    made, others = judge(found, CLASSES.seen, formula), judge(found, CLASSES.seen)
    assert made[f"val/H_{formula}"] == made["val/H"]
    for name in FORMULAS:
        assert made[f"val/H_{name}"] == others[f"val/H_{name}"]


def test_seen_and_unseen_images_are_judged_on_their_own_side():
    # Both seen images right, one of two unseen: at the gamma between, S = 1 and U = 1/2.
    scores = 9 * torch.eye(4)[[0, 1, 2, 2]]
    made = judge(Predictions(scores, None, torch.arange(4), VAL), CLASSES.seen)
    assert (made["val/S"], made["val/U"], made["val/T1"]) == pytest.approx((1, 1 / 2, 1 / 2))
    assert made["val/H"] == pytest.approx(2 / 3)
    assert made["val/AUSUC"] == pytest.approx(1 / 2)


# Classes of ImageNet


def named(*names):
    return Classes(names=names, attributes=torch.eye(5), seen=torch.arange(5) < 2)


def test_without_imagenet_its_classes_are_no_candidates_and_their_images_are_not_judged():
    # The last class takes all of the others' images; nothing else is wrong.
    scores = 9 * torch.eye(5)[torch.arange(10) % 5]
    scores[:, 4] += 20
    found = Predictions(scores, None, torch.arange(10) % 5, VAL)
    birds = named("zebra", "Ani", "Auklet", "Vireo", "014.Indigo_Bunting")
    assert judge(found, birds.seen)["val/U"] < 0.5
    made = without_imagenet(found, birds, "mixture")
    assert made["val/H_without_imagenet"] == pytest.approx(1)


def test_without_classes_of_imagenet_nothing_is_judged_again():
    found = Predictions(torch.eye(5), None, torch.arange(5), VAL)
    assert without_imagenet(found, named("zebra", "a", "b", "c", "d"), "logits") == {}
    # With but one other class there is nothing to tell apart.
    few = named("a", "b", "zebra", "014.Indigo_Bunting", "d")
    assert without_imagenet(found, few, "logits") == {}

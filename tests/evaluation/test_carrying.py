"""Rules carried to other classes: the share of seen images that pass is what stays."""

from dataclasses import replace

import pytest
import torch

from drmn.config import FORMULAS, CarriedConfig, ModelConfig, OptimConfig, RunConfig
from drmn.data.splits.development import open_store
from drmn.errors import ConfigError
from drmn.evaluation import calibration
from drmn.evaluation.carrying import (
    CarriedRule,
    kept_share,
    leads_before,
    mean_rule,
    threshold,
    with_threshold,
)
from drmn.evaluation.ensemble import Rule, choose_rule
from drmn.evaluation.validation import Predictions, by_carried_rule, judge, seen_leads
from drmn.training.loop import LAST_EPOCH, fit

SEEN = torch.tensor([True] * 4 + [False] * 3)


def drawn(seed=0, images=200, scale=1.0):
    chance = torch.Generator().manual_seed(seed)
    labels = torch.randint(7, (images,), generator=chance)
    logits = torch.randn(images, 7, generator=chance) + 2 * torch.eye(7)[labels]
    logits[:, SEEN] += 1.0  # seen classes are favoured, as by any network
    return Predictions(scale * logits, scale * logits[:, SEEN], labels, frozenset({"val"}))


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_rule_carried_to_the_very_same_images_is_the_rule(formula):
    made = drawn()
    rule, leads = choose_rule(formula, made.class_logits, made.global_logits, made.labels, SEEN)
    own = seen_leads(made, SEEN, rule)
    carried = CarriedRule(formula, rule.beta, kept_share(own, rule)).rule(own)
    # Between two leads every number does the same.
    assert kept_share(own, carried) == pytest.approx(kept_share(own, rule), abs=1.5 / len(own))
    scores = replace(carried, gamma=0.0).scores(made.class_logits, made.global_logits, SEEN)
    found = calibration.at(calibration.reduce(scores, made.labels, SEEN), carried.gamma)
    wanted = calibration.at(leads, rule.gamma)
    assert found.harmonic == pytest.approx(wanted.harmonic, abs=0.03)


def test_gamma_follows_the_scale_of_the_scores_where_a_number_does_not():
    rule = CarriedRule("logits", 0.0, kept=0.7)
    plain = Rule("logits")
    small, large = (seen_leads(drawn(scale=s), SEEN, plain) for s in (1.0, 3.0))
    assert rule.rule(large).gamma == pytest.approx(3 * rule.rule(small).gamma, rel=1e-6)


def test_bonus_is_carried_by_its_delta():
    rule = with_threshold(Rule("bonus", beta=0.2), 1.5)
    assert (rule.delta, rule.gamma, threshold(rule)) == (1.5, 0.0, 1.5)
    made = drawn()
    leads = leads_before(rule, made.class_logits, made.global_logits, SEEN)
    plain = made.class_logits.double()
    assert torch.equal(leads, plain[:, SEEN].amax(1) - plain[:, ~SEEN].amax(1))


def test_the_mean_rule_has_the_mean_weight_and_share():
    rule = mean_rule("mixture", [(0.2, 0.6), (0.4, 0.8)])
    assert (rule.beta, rule.kept) == pytest.approx((0.3, 0.7))


def test_the_share_that_is_carried_is_among_the_metrics():
    made = drawn()
    found = judge(made, SEEN, "logits")
    rule = Rule("logits", found["val/beta"], found["val/gamma"])
    assert found["val/kept"] == kept_share(seen_leads(made, SEEN, rule), rule)


def test_a_carried_rule_looks_at_no_image_of_an_unseen_class():
    made = drawn()
    rule = CarriedRule("log_mixture", 0.3, 0.7)
    found = by_carried_rule(made, SEEN, rule)
    shuffled = made.class_logits.clone()
    unseen = ~SEEN[made.labels]
    shuffled[unseen] = shuffled[unseen].flip(1)
    other = by_carried_rule(replace(made, class_logits=shuffled), SEEN, rule)
    assert found["val/S_carried"] == other["val/S_carried"]
    assert found["val/U_carried"] != other["val/U_carried"]


QUICK = RunConfig(model=ModelConfig(sit="none"), optim=OptimConfig(epochs=1))


def test_an_epoch_is_judged_by_a_carried_rule_where_there_is_one(toy):
    carried = replace(QUICK, carried=CarriedConfig(beta=0.1, kept=0.8))
    with_rule, without = next(fit(carried, toy)), next(fit(QUICK, toy))
    assert with_rule.metrics.keys() - without.metrics.keys() == {
        f"val/{name}_carried" for name in "USH"
    }
    assert 0 <= with_rule.metrics["val/H_carried"] <= 1


def test_nothing_is_judged_while_a_refit_trains(toy):
    unseen = replace(toy.val_unseen, part="test")
    epoch = next(fit(QUICK, replace(toy, val_unseen=unseen)))
    assert not [name for name in epoch.metrics if name.startswith("val/")]
    assert epoch.metrics[LAST_EPOCH] == 1


def test_a_block_is_another_division_of_the_same_store(toy_store, toy):
    block = open_store(toy_store, block=2)
    assert block.classes.names != toy.classes.names
    assert len(block.classes.names) == len(toy.classes.names)


def test_a_share_outside_of_zero_to_one_is_refused():
    with pytest.raises(ConfigError, match=r"carried.kept must be in \[0, 1\], or -1"):
        CarriedConfig(kept=1.5)

"""A packed network answers as it was judged, by every formula of the ensemble."""

from typing import get_args

import pytest
import torch

from drmn.config import Formula, ModelConfig, OptimConfig, RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.evaluation.ensemble import Rule, rule_of
from drmn.evaluation.metrics import per_class_accuracy
from drmn.model.backbone import Backbone
from drmn.model.network import DRMN
from drmn.tracking.model_package import Package, load, save
from drmn.training.loop import build_head, fit

FEATURES = FeatureConfig(weights="random", levels="32")
FORMULAS = get_args(Formula)


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return Backbone(FEATURES)


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_package_answers_as_the_network_was_judged(toy, backbone, formula):
    model = ModelConfig(sit="none", scale=3.0, ensemble=formula)
    run = RunConfig(model=model, optim=OptimConfig(epochs=6, batch_size=16, lr=3e-3))
    *_, last = fit(run, toy)
    network = build_head(run, toy.classes, toy.channels)
    network.load_state_dict(last.state["model"])
    packed = Package(backbone, network, run, toy.classes, rule_of(formula, last.metrics))
    for name, split in (("val/S", toy.val_seen), ("val/U", toy.val_unseen)):
        guesses = packed.answer(split.batch(torch.arange(len(split))).inputs).scores.argmax(dim=1)
        assert per_class_accuracy(guesses, split.labels) == pytest.approx(last.metrics[name])
    assert last.metrics["val/H"] > 0  # else anything would agree


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_package_that_was_saved_answers_as_before(toy, backbone, tmp_path, formula):
    run = RunConfig(model=ModelConfig(levels="32", width=8, sit="none", ensemble=formula))
    network = DRMN(run.model, backbone.channels, attributes=6, seen=6)
    rule = Rule(formula, beta=0.3, gamma=0.2, delta=0.5)
    saved = Package(backbone, network, run, toy.classes, rule)
    save(tmp_path, saved, FEATURES)
    loaded = load(tmp_path)
    maps = {32: torch.randn(4, 9, backbone.channels[32])}
    assert loaded.rule == rule
    assert torch.equal(loaded.answer(maps).scores, saved.answer(maps).scores)

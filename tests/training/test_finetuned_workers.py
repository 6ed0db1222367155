"""A backbone trained along by several workers: real processes, gloo."""

import pytest
import torch
from processes import on

from drmn.config import FinetuneConfig, ModelConfig, OptimConfig, RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.data.splits.photos import open_photos
from drmn.fields import with_overrides
from drmn.model.backbone import Backbone
from drmn.training.loop import fit

# Batches of 18, 18 and 12 of the 48 training images.
CONFIG = RunConfig(
    model=ModelConfig(scale=3.0, width=16, levels="16+32", sit="batch", sit_dropout=0.0),
    optim=OptimConfig(epochs=1, batch_size=18, lr=3e-3),
    finetune=FinetuneConfig(augment="none"),
    tier="finetuned",
)


def train(catalogue, config, backbone="resnet10t", levels="8+16+32"):
    features = FeatureConfig(backbone=backbone, weights="random", image_size=32, levels=levels)
    made = Backbone(features)
    data = open_photos(catalogue, made.preprocess, augment=config.finetune.augment)
    (only,) = fit(config, data, backbone=made)
    return only.metrics, only.state["model"]


@pytest.mark.parametrize("levels", ["16+32", "8+16"])
def test_two_workers_learn_what_one_does(toy_photos, levels):
    """Without the coarsest level the last stage of the backbone has no gradient to wait for."""
    config = with_overrides(CONFIG, {"model.levels": levels})
    alone, weights = train(toy_photos, config)
    for metrics, state in on(2, train, toy_photos, config):
        for name in ("loss/total", "train/grad_norm"):
            assert metrics[name] == pytest.approx(alone[name], rel=1e-4), name
        for name, value in weights.items():
            torch.testing.assert_close(state[name], value, rtol=2e-3, atol=2e-4, msg=name)


@pytest.mark.parametrize(("backbone", "level"), [("test_vit", "16"), ("resnet10t", "32")])
def test_a_worker_may_have_no_image_of_a_small_batch(toy_photos, backbone, level):
    # Batches of 23, 23 and 2: of the last, the third worker has none.
    config = with_overrides(CONFIG, {"model.levels": level, "optim.batch_size": 23})
    alone, _ = train(toy_photos, config, backbone, level)
    for metrics, _ in on(3, train, toy_photos, config, backbone, level):
        assert metrics["loss/total"] == pytest.approx(alone["loss/total"], rel=2e-4)

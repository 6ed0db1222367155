"""Training with the backbone in the loop: the loop of the frozen tier, on pixels."""

from dataclasses import replace
from itertools import islice

import pytest
import torch

from drmn.config import ModelConfig, OptimConfig, RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.data.splits.photos import open_photos
from drmn.fields import with_overrides
from drmn.model.backbone import Backbone
from drmn.training.loop import fit

FEATURES = FeatureConfig(backbone="resnet10t", weights="random", image_size=32, levels="16+32")
CONFIG = RunConfig(
    model=ModelConfig(sit="attr", scale=3.0, width=16, levels="16+32"),
    optim=OptimConfig(epochs=3, batch_size=16, lr=3e-3),
    tier="finetuned",
)


def run(toy_photos, changes=(), features=FEATURES, **more):
    config = with_overrides(CONFIG, dict(changes))
    backbone = Backbone(features)
    data = open_photos(toy_photos, backbone.preprocess, augment=config.finetune.augment)
    return fit(config, data, backbone=backbone, **more)


def weights(epoch, part):
    return {k: v for k, v in epoch.state["model"].items() if k.startswith(part)}


def test_the_backbone_is_trained_along(toy_photos):
    before = Backbone(FEATURES).body.state_dict()
    first = next(run(toy_photos))
    changed = moved(first, before)
    assert any("layer4" in name for name in changed)
    assert not any("running" in name or "num_batches" in name for name in changed)
    assert first.metrics["train/lr_backbone"] == pytest.approx(1e-5)
    assert first.metrics["train/lr_head"] == pytest.approx(3e-3)


def test_resuming_changes_no_bit(toy_photos):
    straight = list(run(toy_photos))
    (half,) = islice(run(toy_photos), 1)
    resumed = list(run(toy_photos, resume=half.state))
    assert [e.metrics for e in resumed] == [e.metrics for e in straight[1:]]
    for name, value in straight[-1].state["model"].items():
        assert torch.equal(resumed[-1].state["model"][name], value), name


def moved(epoch, before):
    now = weights(epoch, "backbone.body.")
    return [k for k, v in now.items() if not torch.equal(v, before[k.split(".", 2)[2]])]


def test_before_the_first_stage_is_due_the_head_learns_alone(toy_photos):
    before, stream = (
        Backbone(FEATURES).body.state_dict(),
        run(toy_photos, {"finetune.unfreeze_every": 1}),
    )
    assert moved(next(stream), before) == []
    second = moved(next(stream), before)
    assert second
    assert all("layer4" in name for name in second)


CHANGES = [
    {"finetune.lr": 1e-3},
    {"finetune.unfreeze_every": 2},
    {"finetune.augment": "none"},
    {"finetune.augment": "color"},
    {"optim.views": False},
    {"compute.micro_batch": 4},
    {"compute.precision": "bf16"},
]


@pytest.fixture(scope="module")
def usual(toy_photos):
    """Return the metrics of the second epoch of the usual settings."""
    torch.set_num_threads(1)
    _, second = islice(run(toy_photos), 2)
    return second.metrics


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_each_setting_changes_training_and_trains(toy_photos, usual, change):
    _, changed = islice(run(toy_photos, change), 2)
    assert changed.metrics["loss/total"] != usual["loss/total"]
    assert all(torch.tensor(value).isfinite() for value in changed.metrics.values())


def test_without_views_photos_are_trained_on_as_they_are(toy_photos):
    plain = [epoch.metrics for epoch in islice(run(toy_photos, {"finetune.augment": "none"}), 2)]
    off = [epoch.metrics for epoch in islice(run(toy_photos, {"optim.views": False}), 2)]
    assert off == plain


def test_summed_micro_batches_give_the_gradient_of_the_batch(toy_photos):
    # Without the terms that look at a whole batch, micro-batches change the rounding alone.
    plain = {
        "model.sit": "none",
        "model.normalize": False,
        "model.levels": "32",
        "loss.self_calibration": 0.0,
        "finetune.augment": "none",
    }
    whole = next(run(toy_photos, plain))
    parts = next(run(toy_photos, plain | {"compute.micro_batch": 5}))
    assert parts.metrics["loss/total"] == pytest.approx(whole.metrics["loss/total"], rel=1e-4)
    assert parts.metrics["train/grad_norm"] == pytest.approx(
        whole.metrics["train/grad_norm"], rel=1e-3
    )


@pytest.mark.slow
def test_the_stripes_are_learnt_better_with_the_backbone(toy_photos):
    quick = {"optim.epochs": 12, "finetune.augment": "none", "model.sit": "none"}
    *_, frozen = run(toy_photos, quick | {"finetune.lr": 0.0})
    *_, tuned = run(toy_photos, quick | {"finetune.lr": 1e-3})
    assert tuned.metrics["loss/attribute_branch"] < frozen.metrics["loss/attribute_branch"]


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("test_convnext", "32"),
        ("tf_efficientnet_lite0", "32"),
        ("test_vit", "16"),
        ("hiera_tiny_224", "32"),
    ],
)
def test_backbones_of_any_family_are_trained_along(toy_photos, name, level):
    features = replace(FEATURES, backbone=name, levels=level)
    before = Backbone(features).body.state_dict()
    quick = {"model.levels": level, "optim.batch_size": 24, "finetune.lr": 1e-3}
    first = next(run(toy_photos, quick, features))
    assert torch.tensor(list(first.metrics.values())).isfinite().all()
    trained = {f"backbone.body.{n}" for n, _ in Backbone(features).body.named_parameters()}
    assert len(trained & set(moved(first, before))) > 0.9 * len(trained)


@pytest.mark.slow
def test_a_compiled_backbone_learns_alike(toy_photos):
    features = replace(FEATURES, backbone="test_vit", levels="16")
    still = {"finetune.augment": "none", "model.levels": "16", "optim.batch_size": 24}
    plain = next(run(toy_photos, still, features))
    fast = next(run(toy_photos, still | {"compute.compile": True}, features))
    for name in ("loss/total", "train/grad_norm"):
        assert fast.metrics[name] == pytest.approx(plain.metrics[name], rel=1e-3)
    assert fast.state["model"].keys() == plain.state["model"].keys()

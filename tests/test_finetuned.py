"""Training with the backbone in the loop: the loop of the frozen tier, on pixels."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from conftest import toy_catalogue
from PIL import Image

from drmn.config import FeatureConfig, ModelConfig, OptimConfig, RunConfig, with_overrides
from drmn.data.photographs import open_photos
from drmn.model.backbone import Backbone
from drmn.train import fit

FEATURES = FeatureConfig(backbone="resnet10t", weights="random", image_size=32, levels="16+32")
CONFIG = RunConfig(
    model=ModelConfig(sit="attr", scale=3.0, width=16, levels="16+32"),
    optim=OptimConfig(epochs=3, batch_size=16, lr=3e-3),
    tier="finetuned",
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return photos on which each attribute is a stripe of its own."""
    root, chance = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    catalogue = toy_catalogue()
    shows = catalogue.attributes[catalogue.labels] > 0
    files = []
    for name, attributes in zip(catalogue.images, shows, strict=True):
        pixels = chance.integers(0, 80, (36, 36, 3))
        for stripe in np.flatnonzero(attributes):
            pixels[6 * stripe : 6 * stripe + 6, :, stripe % 3] += 150
        file = root / name.replace("/", "-").replace(".jpg", ".png")
        Image.fromarray(pixels.astype(np.uint8)).save(file)
        files.append(file)
    return replace(catalogue, files=tuple(files))


def run(photos, changes=(), **more):
    config = with_overrides(CONFIG, dict(changes))
    backbone = Backbone(FEATURES)
    data = open_photos(photos, backbone.preprocess, augment=config.finetune.augment)
    return fit(config, data, backbone=backbone, **more)


def weights(epoch, part):
    return {k: v for k, v in epoch.state["model"].items() if k.startswith(part)}


def test_the_backbone_is_trained_along(photos):
    before = Backbone(FEATURES).body.state_dict()
    first = next(run(photos))
    changed = moved(first, before)
    assert any("layer4" in name for name in changed)
    assert not any("running" in name or "num_batches" in name for name in changed)
    assert first.metrics["train/lr_backbone"] == pytest.approx(1e-5)
    assert first.metrics["train/lr_head"] == pytest.approx(3e-3)


def test_resuming_changes_no_bit(photos):
    straight = list(run(photos))
    (half,) = islice(run(photos), 1)
    resumed = list(run(photos, resume=half.state))
    assert [e.metrics for e in resumed] == [e.metrics for e in straight[1:]]
    for name, value in straight[-1].state["model"].items():
        assert torch.equal(resumed[-1].state["model"][name], value), name


def moved(epoch, before):
    now = weights(epoch, "backbone.body.")
    return [k for k, v in now.items() if not torch.equal(v, before[k.split(".", 2)[2]])]


def test_before_the_first_stage_is_due_the_head_learns_alone(photos):
    before, stream = (
        Backbone(FEATURES).body.state_dict(),
        run(photos, {"finetune.unfreeze_every": 1}),
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
    {"compute.micro_batch": 4},
    {"compute.precision": "bf16"},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_each_setting_changes_training_and_trains(photos, change):
    _, usual = islice(run(photos), 2)
    _, changed = islice(run(photos, change), 2)
    assert changed.metrics["loss/total"] != usual.metrics["loss/total"]
    assert all(torch.tensor(value).isfinite() for value in changed.metrics.values())


def test_summed_micro_batches_give_the_gradient_of_the_batch(photos):
    # Without the terms that look at a whole batch, micro-batches change the rounding alone.
    plain = {
        "model.sit": "none",
        "model.normalize": False,
        "model.levels": "32",
        "loss.self_calibration": 0.0,
        "finetune.augment": "none",
    }
    whole = next(run(photos, plain))
    parts = next(run(photos, plain | {"compute.micro_batch": 5}))
    assert parts.metrics["loss/total"] == pytest.approx(whole.metrics["loss/total"], rel=1e-4)
    assert parts.metrics["train/grad_norm"] == pytest.approx(
        whole.metrics["train/grad_norm"], rel=1e-3
    )


def test_the_stripes_are_learnt_better_with_the_backbone(photos):
    quick = {"optim.epochs": 12, "finetune.augment": "none", "model.sit": "none"}
    *_, frozen = run(photos, quick | {"finetune.lr": 0.0})
    *_, tuned = run(photos, quick | {"finetune.lr": 1e-3})
    assert tuned.metrics["loss/attribute_branch"] < frozen.metrics["loss/attribute_branch"]

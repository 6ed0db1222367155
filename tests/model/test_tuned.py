"""Backbone and head as one network."""

import copy
from dataclasses import replace

import pytest
import torch

from drmn.config import ComputeConfig, FeatureConfig, ModelConfig
from drmn.errors import ConfigError
from drmn.model.backbone import Backbone
from drmn.model.network import DRMN
from drmn.model.tuned import Tuned, stages_of

SMALL = FeatureConfig(backbone="resnet10t", weights="random", image_size=32, levels="16+32")
ATTRIBUTES, SEEN = 5, 4


def tuned(config=SMALL, **settings):
    backbone = Backbone(config)
    torch.manual_seed(0)
    model = ModelConfig(**{"levels": "32", "width": 16, "sit": "none", **settings})
    return Tuned(backbone, DRMN(model, backbone.channels, attributes=ATTRIBUTES, seen=SEEN))


def photos(count=3, side=32):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_it_scores_what_the_head_makes_of_the_backbone_s_maps():
    made = tuned().eval()
    expected = made.head(made.backbone(photos()))
    torch.testing.assert_close(made(photos()).attributes, expected.attributes)


def test_the_backbone_stays_in_evaluation_while_the_head_is_trained():
    made = tuned().train()
    before = copy.deepcopy(made.backbone.state_dict())
    made(photos())
    assert made.head.training
    assert not any(part.training for part in made.backbone.modules())
    for name, value in made.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


def learning(made):
    return [any(weight.requires_grad for weight in s) for s in stages_of(made.backbone.body)]


def test_stages_are_unfrozen_from_the_top_one_at_a_time():
    made = tuned()  # a stem of two parts, then four stages
    count = len(stages_of(made.backbone.body))
    for epoch in range(1, 20):
        made.thaw(epoch, every=2)
        due = min(count, (epoch - 1) // 2)
        assert learning(made) == [False] * (count - due) + [True] * due
    made.thaw(1, every=0)
    assert all(learning(made))


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("resnet10t", 5),
        ("tf_efficientnet_lite0", 7),
        ("convnext_atto", 5),
        ("vit_tiny_patch16_224", 2),
    ],
)
def test_every_weight_is_in_one_stage(name, least):
    body = Backbone(replace(SMALL, backbone=name, image_size=224, levels="16")).body
    stages = stages_of(body)
    every = [id(weight) for stage in stages for weight in stage]
    assert len(every) == len(set(every))
    assert set(every) == {id(weight) for weight in body.parameters()}
    assert len(stages) >= least


def gradients(made):
    made.train()
    made.thaw(1, every=0)
    scores = made(photos())
    (scores.attributes.sum() + scores.globally.sum()).backward()
    return [weight.grad for weight in made.parameters() if weight.grad is not None]


def test_checkpointing_changes_no_gradient():
    plain, saving = tuned(), tuned()
    saving.arrange(ComputeConfig(checkpointing=True))
    for one, other in zip(gradients(plain), gradients(saving), strict=True):
        torch.testing.assert_close(one, other)


def test_a_backbone_that_cannot_checkpoint_is_told():
    config = replace(SMALL, backbone="vit_tiny_patch16_224", image_size=224, levels="16")
    with pytest.raises(ConfigError, match="this backbone cannot do without its activations"):
        tuned(config, levels="16").arrange(ComputeConfig(checkpointing=True))


def test_a_compiled_backbone_scores_alike():
    plain, fast = tuned().eval(), tuned().eval()
    fast.arrange(ComputeConfig(compile=True))
    want, have = plain(photos()), fast(photos())
    torch.testing.assert_close(have.attributes, want.attributes, rtol=1e-3, atol=1e-4)
    assert fast.state_dict().keys() == plain.state_dict().keys()

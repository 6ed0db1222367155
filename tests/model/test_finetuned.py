"""Backbone and head as one network."""

import copy
from dataclasses import replace

import pytest
import torch

from drmn.config import ComputeConfig, ModelConfig
from drmn.data.feature_config import FeatureConfig
from drmn.errors import ConfigError
from drmn.model.backbone import Backbone
from drmn.model.finetuned import FinetunedNetwork, stages_of
from drmn.model.network import DRMN

SMALL = FeatureConfig(backbone="resnet10t", weights="random", image_size=32, levels="16+32")
ATTRIBUTES, SEEN = 5, 4


def tuned(config=SMALL, **settings):
    backbone = Backbone(config)
    torch.manual_seed(0)
    model = ModelConfig(**{"levels": "32", "width": 16, "sit": "none", **settings})
    return FinetunedNetwork(
        backbone, DRMN(model, backbone.channels, attributes=ATTRIBUTES, seen=SEEN)
    )


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


def test_stages_above_the_highest_level_used_are_never_trained():
    made = tuned(replace(SMALL, levels="8+16+32"), levels="8+16")
    made.unfreeze(1, every=0)
    *used, last = learning(made)  # the last one makes the level of stride 32
    assert all(used)
    assert not last
    made.unfreeze(2, every=1)  # one stage is due: the highest that counts
    assert learning(made) == [False] * (len(used) - 1) + [True, False]


def test_all_that_is_trained_has_a_gradient():
    made = tuned(replace(SMALL, levels="8+16+32"), levels="8+16").train()
    made.unfreeze(1, every=0)
    scores = made(photos())
    (scores.attributes.sum() + scores.global_logits.sum()).backward()
    asked = [name for name, weight in made.named_parameters() if weight.requires_grad]
    assert all(made.get_parameter(name).grad is not None for name in asked)


@pytest.mark.parametrize(
    ("name", "level"),
    [("resnet10t", "32"), ("test_convnext", "32"), ("test_vit", "16"), ("hiera_tiny_224", "32")],
)
def test_no_photos_have_no_scores_and_gradients_of_zero(name, level):
    made = tuned(replace(SMALL, backbone=name, levels=level), levels=level).train()
    made.unfreeze(1, every=0)
    scores = made(photos()[:0])
    assert scores.attributes.shape == (0, ATTRIBUTES)
    (scores.attributes.sum() + scores.global_logits.sum()).backward()
    grads = [weight.grad for weight in made.backbone.body.parameters()]
    assert all(grad is not None and not grad.any() for grad in grads)


def test_the_backbone_is_given_pixels_and_weights_with_channels_last():
    made, seen = tuned(), []
    made.backbone.body.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    made(photos())
    kernels = [w for w in made.backbone.body.parameters() if w.dim() == 4 and w.shape[1] > 1]
    assert kernels
    for laid_out in [*seen, *kernels]:
        assert laid_out.is_contiguous(memory_format=torch.channels_last)


def test_stages_are_unfrozen_from_the_top_one_at_a_time():
    made = tuned()  # a stem of two parts, then four stages
    count = len(stages_of(made.backbone.body))
    for epoch in range(1, 20):
        made.unfreeze(epoch, every=2)
        due = min(count, (epoch - 1) // 2)
        assert learning(made) == [False] * (count - due) + [True] * due
    made.unfreeze(1, every=0)
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
    made.unfreeze(1, every=0)
    scores = made(photos())
    (scores.attributes.sum() + scores.global_logits.sum()).backward()
    return [weight.grad for weight in made.parameters() if weight.grad is not None]


def test_checkpointing_changes_no_gradient():
    plain, saving = tuned(), tuned()
    saving.configure(ComputeConfig(checkpointing=True))
    for one, other in zip(gradients(plain), gradients(saving), strict=True):
        torch.testing.assert_close(one, other)


def test_a_backbone_that_cannot_checkpoint_is_told():
    config = replace(SMALL, backbone="vit_tiny_patch16_224", image_size=224, levels="16")
    with pytest.raises(ConfigError, match="this backbone cannot do without its activations"):
        tuned(config, levels="16").configure(ComputeConfig(checkpointing=True))

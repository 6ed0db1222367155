"""The class token of a transformer as a separate level, and as the global branch's input."""

import re
from dataclasses import replace

import pytest
import torch
from toys import write_store

from drmn.config import ModelConfig, OptimConfig, RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.data.splits import development
from drmn.data.splits.photos import open_photos
from drmn.data.store import feature_store
from drmn.errors import ConfigError
from drmn.fields import with_overrides
from drmn.level_names import CLS, parse_levels
from drmn.model.backbone import Backbone
from drmn.model.network import DRMN
from drmn.space_features import needed_levels
from drmn.training.loop import fit

CONFIG = RunConfig(
    model=ModelConfig(sit="none", scale=3.0, global_input="cls"),
    optim=OptimConfig(epochs=2, batch_size=16, lr=3e-3),
)
POOLED = with_overrides(CONFIG, {"model.global_input": "pooled"})


def net(name, levels, size=64, **more):
    return Backbone(
        FeatureConfig(backbone=name, weights="random", image_size=size, levels=levels, **more)
    )


@pytest.mark.parametrize(
    ("name", "levels", "size"),
    [
        ("vit_tiny_patch16_224", "cls+b4+b-1", 64),
        ("vit_tiny_patch16_224", "b4+b8+cls", 64),  # of the last block, whatever maps are kept
        ("vit_tiny_patch16_224", "cls+16", 64),
        ("deit_tiny_distilled_patch16_224", "cls+b12", 64),
        ("eva02_tiny_patch14_224", "cls+b12", 56),
    ],
)
def test_the_token_of_the_last_block_is_a_level_of_one_region(name, levels, size):
    made, without = net(name, levels, size), net(name, levels.replace("cls", "").strip("+"), size)
    assert made.levels == (CLS, *without.levels)
    assert made.digest == without.digest
    assert made.preprocess == without.preprocess
    pixels, seen = torch.randn(2, 3, size, size), []
    made.body.model.blocks[-1].register_forward_hook(lambda *given: seen.append(given[-1]))
    maps, plain = made(pixels), without(pixels)
    assert torch.equal(maps[CLS], seen[0][:, :1])
    assert all(torch.equal(maps[level], plain[level]) for level in without.levels)
    assert made.shapes()[CLS] == (1, made.channels[CLS])


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("resnet18", "cls+32"),
        ("vit_base_patch16_siglip_224", "cls+b12"),
        ("cait_xxs24_224", "cls+b24"),  # its token meets the regions after the last block
    ],
)
def test_a_backbone_without_such_a_token_is_named(name, levels):
    words = f"--levels {levels}: {name} has no class token beside its regions; leave cls out."
    with pytest.raises(ConfigError, match=f"^{re.escape(words)}$"):
        net(name, levels)


@pytest.mark.parametrize("levels", ["cls", "cls+b2+16"])
def test_a_token_alone_is_no_choice_of_levels(levels):
    with pytest.raises(ConfigError, match="levels must be strides"):
        parse_levels(levels)
    with pytest.raises(ConfigError, match=r"levels of maps; cls is for model\.global_input"):
        ModelConfig(levels="cls+b2")


def test_the_global_branch_reads_the_token_and_nothing_else_does():
    network = DRMN(CONFIG.model, {CLS: 5, 16: 8, 32: 12}, attributes=6, seen=4).eval()
    maps = {CLS: torch.randn(3, 1, 5), 16: torch.randn(3, 4, 8), 32: torch.randn(3, 4, 12)}
    usual, other = network(maps), network({**maps, CLS: torch.randn(3, 1, 5)})
    assert torch.equal(usual.attributes, other.attributes)
    assert not torch.equal(usual.global_logits, other.global_logits)
    lower = network({**maps, 16: torch.randn(3, 4, 8)})
    assert torch.equal(usual.global_logits, lower.global_logits)


@pytest.fixture
def store(toy_store, tmp_path):
    """Return a store of the toy features with a class token beside them."""
    toy = feature_store.read(toy_store)
    rows = torch.arange(len(toy.catalogue.images))
    maps = {level: made.rows(rows).float() for level, made in toy.levels.items()}
    token = 9 + 3 * maps[32].mean(dim=1, keepdim=True)[..., :5]
    key = replace(toy.key, levels=(CLS, *toy.key.levels))
    return write_store(tmp_path, key, toy.catalogue, {CLS: token, **maps})


def metrics(config, store):
    data = development.open_store(store, levels=needed_levels(config.model))
    return [epoch.metrics for epoch in fit(config, data)]


@pytest.mark.long
def test_a_stored_token_is_trained_on_and_changes_no_other_run(store, toy_store):
    assert metrics(POOLED, store) == metrics(POOLED, toy_store)
    assert (
        metrics(CONFIG, store)[1]["loss/global_branch"]
        < metrics(CONFIG, store)[0]["loss/global_branch"]
    )
    with pytest.raises(ConfigError, match=r"hold 16\+32, and no class token"):
        metrics(CONFIG, toy_store)


def test_the_token_is_standardised_by_the_training_images(store):
    data = development.open_store(store)
    (last,) = list(fit(with_overrides(CONFIG, {"optim.epochs": 1}), data))
    tokens = data.train.maps(data.train.rows)[CLS][:, 0]
    torch.testing.assert_close(last.state["model"]["token.running_mean"], tokens.mean(dim=0))


def test_the_backbone_is_fine_tuned_through_the_token(toy_photos):
    config = with_overrides(
        CONFIG, {"tier": "finetuned", "model.levels": "b1", "model.width": 16, "finetune.lr": 1e-3}
    )
    backbone = net("test_vit", "cls+b1", 32)
    before = {name: value.clone() for name, value in backbone.body.state_dict().items()}
    photos = open_photos(toy_photos, backbone.preprocess, augment="none")
    first = next(fit(config, photos, backbone=backbone))
    last = len(backbone.body.model.blocks) - 1
    name = f"model.blocks.{last}.mlp.fc2.weight"
    assert not torch.equal(first.state["model"][f"backbone.body.{name}"], before[name])

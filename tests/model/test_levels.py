"""Levels by block, for each family of plain transformers, and their published weights."""

import re

import pytest
import torch
from safetensors.torch import save_file

from drmn.config import ModelConfig, RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.errors import ConfigError, DataError
from drmn.model.backbone import Backbone
from drmn.model.extraction import keep_weights
from drmn.model.finetuned import FinetunedNetwork
from drmn.model.network import DRMN
from drmn.model.timm_levels import level_shapes
from drmn.vision import timm

FAMILIES = {
    "vit_tiny_patch16_224": 64,
    "deit_tiny_distilled_patch16_224": 64,  # two tokens that are no region
    "vit_small_patch14_reg4_dinov2": 56,  # five: CLS and registers
    "vit_xsmall_patch16_clip_224": 64,
    "vit_base_patch16_siglip_224": 64,  # none
    "eva02_tiny_patch14_224": 56,
    "cait_xxs24_224": 64,
}
TINY = "vit_tiny_patch16_224"


def net(name=TINY, levels="b2+b-1", size=64, weights="random", **more):
    config = FeatureConfig(
        backbone=name, weights=str(weights), image_size=size, levels=levels, **more
    )
    return Backbone(config)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_block_of_a_family_is_a_level_without_its_other_tokens(name):
    size = FAMILIES[name]
    made = net(name, size=size)
    patch = made.body.feature_info.reduction()[0]
    last = made.levels[-1]
    assert made.levels == ("b2", f"b{len(made.body.feature_info.info)}")
    maps = made(torch.randn(2, 3, size, size))
    regions = (size // patch) ** 2
    assert {level: tuple(m.shape) for level, m in maps.items()} == {
        level: (2, regions, made.channels[level]) for level in ("b2", last)
    }
    assert not torch.equal(maps["b2"], maps[last])


def test_a_map_is_what_the_block_gives():
    made, pixels, seen = net(levels="b3+b12"), torch.randn(1, 3, 64, 64), []
    made.body.model.blocks[2].register_forward_hook(lambda *given: seen.append(given[-1]))
    maps = made(pixels)
    torch.testing.assert_close(maps["b3"], seen[0][:, 1:])  # without CLS


def test_the_last_block_by_its_stride_is_the_last_block():
    pixels = torch.randn(1, 3, 64, 64)
    by_stride, by_block = net(levels="16"), net(levels="b-1")
    assert by_stride.digest == by_block.digest  # whatever the levels, the weights are all there
    assert torch.equal(by_stride(pixels)[16], by_block(pixels)["b12"])


@pytest.mark.parametrize(
    ("name", "levels", "words"),
    [
        (TINY, "b4+b13", f"--levels b4+b13: {TINY} has blocks b1 to b12 (b-1 is the last), such "),
        (TINY, "b-13", "such as b4+b8+b12; by stride only the last of each (16)."),
        (TINY, "8+16", "no level of stride 8; it has blocks b1 to b12 (b-1 is the last)"),
        ("resnet18", "b2", "--levels b2: resnet18 has 2, 4, 8, 16, 32."),
    ],
)
def test_a_level_that_is_not_there_is_answered_with_those_that_are(name, levels, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        net(name, levels)


@pytest.mark.parametrize(
    ("name", "first", "last", "token"),
    [
        (TINY, ("b1", 192, 4), ("b12", 192, 4), ["cls"]),
        ("resnet18", (2, 64, 32), (32, 512, 2), []),
    ],
)
def test_the_shapes_of_levels_are_known_without_weights(name, first, last, token):
    shapes = level_shapes(FeatureConfig(backbone=name, image_size=64))
    found = [(level.name, level.channels, level.height) for level in shapes]
    maps = found[: len(found) - len(token)]
    assert (maps[0], maps[-1]) == (first, last)
    assert [each[0] for each in found[len(maps) :]] == token


def trained(name, size=None, **changes):
    """Return the weights of a classifier that was made at its own size or another."""
    torch.manual_seed(1)
    kind = {} if size is None else {"img_size": size}
    return timm.create_model(name, pretrained=False, **kind, **changes).state_dict()


def saved(path, state):
    state = {name: value.contiguous().clone() for name, value in state.items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"model": state, "epoch": 3}, path)
    return path


def as_dinov2(state):
    """Return weights as DINOv2's own files have them."""
    state = {**state, "mask_token": torch.zeros(1, state["cls_token"].shape[-1])}
    cls = torch.zeros_like(state["cls_token"])
    state["pos_embed"] = torch.cat([cls, state["pos_embed"]], dim=1)
    return {
        ("register_tokens" if name == "reg_token" else name): value for name, value in state.items()
    }


def as_clip(state):
    """Return the visual half as OpenAI's CLIP has it, in names and shapes."""
    tops = {
        "cls_token": "class_embedding",
        "pos_embed": "positional_embedding",
        "patch_embed.proj.weight": "conv1.weight",
    }
    parts = [
        ("blocks.", "transformer.resblocks."),
        ("norm_pre.", "ln_pre."),
        (".norm1.", ".ln_1."),
        (".norm2.", ".ln_2."),
        (".attn.qkv.", ".attn.in_proj_"),
        (".attn.proj.", ".attn.out_proj."),
        (".mlp.fc1.", ".mlp.c_fc."),
        (".mlp.fc2.", ".mlp.c_proj."),
    ]
    found = {}
    for name, value in state.items():
        if name.startswith("head"):
            continue
        there = tops.get(name, re.sub(r"^norm\.", "ln_post.", name))
        for ours, theirs in parts:
            there = there.replace(ours, theirs)
        flat = value.flatten(0, -2).squeeze(0) if name in ("cls_token", "pos_embed") else value
        found[f"visual.{there}"] = flat
    return found


PUBLISHED = {
    "vit_small_patch14_reg4_dinov2": as_dinov2,
    "vit_xsmall_patch16_clip_224": as_clip,
    "vit_base_patch16_siglip_224": lambda state: {
        f"visual.trunk.{name}": value for name, value in state.items()
    },
}


@pytest.mark.long
@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_load_in_the_forms_of_timm_and_of_their_authors(tmp_path, name):
    size, state = FAMILIES[name], trained(name)
    by_timm = net(name, "b-1", size, saved(tmp_path / "timm.safetensors", state))
    assert_loaded(by_timm, state)
    theirs = net(name, "b-1", size, saved(tmp_path / "theirs.pth", PUBLISHED[name](state)))
    assert theirs.digest == by_timm.digest


def assert_loaded(made, state):
    """Assert that the last block has the weights of a classifier."""
    last = [key for key in made.body.state_dict() if key.endswith("mlp.fc2.weight")]
    if last:
        flat = {key.replace(".", "_"): value for key, value in state.items()}
        key = last[-1].removeprefix("model.").replace(".", "_")
        assert torch.equal(made.body.state_dict()[last[-1]], flat[key])


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        (TINY, "safetensors"),
        (TINY, "pth"),
        *((name, "safetensors") for name in FAMILIES if name not in {TINY, *PUBLISHED}),
        ("convnext_atto", "safetensors"),
        ("swin_tiny_patch4_window7_224", "safetensors"),
    ],
)
def test_the_weights_of_a_family_load_from_a_file(tmp_path, name, suffix):
    """As timm publishes them: for other images too, and with a classifier above."""
    # The positions of CaIT are not interpolated.
    size = 224 if name.startswith("cait") else FAMILIES.get(name, 64)
    state = trained(name)
    levels = "b-1" if name in FAMILIES else "32"
    made = net(name, levels, size, saved(tmp_path / f"w.{suffix}", state))
    assert_loaded(made, state)
    assert made.digest != net(name, levels, size).digest


def test_weights_of_another_transformer_are_refused_by_name(tmp_path):
    path = saved(tmp_path / "w.safetensors", trained("deit_tiny_distilled_patch16_224"))
    with pytest.raises(DataError, match=re.escape(f"--weights {path}: ")):
        net(weights=path)


def test_a_transformer_is_restored_from_the_weights_that_stores_keep(tmp_path):
    made = net(levels="b4+b12")
    keep_weights(tmp_path, "w0", made)
    again = net(levels="b4+b12", weights=tmp_path / "weights-w0.safetensors")
    assert again.digest == made.digest


def test_blocks_are_fused_and_the_backbone_below_them_is_fine_tuned():
    backbone = net(levels="b4+b8+b12")
    model = ModelConfig(levels="b4+b8", sit="none", width=16)
    network = FinetunedNetwork(backbone, DRMN(model, backbone.channels, attributes=3, seen=2))
    network.unfreeze(1, 0)
    trains = {n for n, w in backbone.body.named_parameters() if w.requires_grad}
    assert "model.blocks.7.mlp.fc2.weight" in trains
    assert not any(name.startswith("model.blocks.8.") for name in trains)
    assert network(torch.randn(2, 3, 64, 64)).attributes.shape == (2, 3)
    assert RunConfig(model=model).model.levels == "b4+b8"

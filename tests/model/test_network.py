"""The whole network: fusion, scores, branches, and each ablation as one setting."""

import re
from math import sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from drmn.config import ModelConfig
from drmn.errors import ConfigError
from drmn.model.network import DRMN, Fusion, hyperspherical

CHANNELS = {8: 6, 16: 4, 32: 8}
ATTRIBUTES, SEEN, IMAGES, REGIONS = 5, 3, 4, 7
seeds = st.integers(0, 2**32 - 1)


def maps(seed=1):
    chance = torch.Generator().manual_seed(seed)
    return {s: 2 + torch.randn(IMAGES, REGIONS, c, generator=chance) for s, c in CHANNELS.items()}


def network(words=None, **settings):
    torch.manual_seed(0)
    return DRMN(ModelConfig(**settings), CHANNELS, attributes=ATTRIBUTES, seen=SEEN, words=words)


def stirred(module):
    """Move all parameters and running statistics off their first values."""
    torch.manual_seed(2)
    with torch.no_grad():
        for value in [*module.parameters(), *module.buffers()]:
            if value.is_floating_point():
                value.add_(0.3 * torch.rand_like(value))
    return module


def names(model):
    return {name.split(".")[0] for name, _ in model.named_parameters()}


# Fusion


@pytest.mark.parametrize("width", [0, 6])
@pytest.mark.parametrize("normalised", [True, False])
def test_added_levels_start_at_no_fusion(width, normalised):
    torch.manual_seed(0)
    several = Fusion(CHANNELS, width, concat=False, normalize=normalised).eval()
    alone = Fusion({32: 8}, width, concat=False, normalize=normalised).eval()
    alone.project.load_state_dict(several.project.state_dict())
    torch.testing.assert_close(several(maps()), alone(maps()))


def test_added_levels_can_be_learnt_from_the_first_step():
    fusion = Fusion(CHANNELS, 0, concat=False, normalize=True)
    (fusion(maps()) * torch.randn(IMAGES, REGIONS, 8)).sum().backward()
    assert all(norm.weight.grad.abs().min() > 0 for norm in fusion.norms)


def slow_norm(norm, x):
    """Evaluation of one region: by running statistics, then the learnt scale and shift."""
    out = (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    return out * norm.weight + norm.bias if norm.affine else out


def test_added_levels_match_the_equation_written_out():
    fusion = stirred(Fusion(CHANNELS, 6, concat=False, normalize=True)).eval()
    given_maps, rows = maps(), []
    for image in range(IMAGES):
        for region in range(REGIONS):
            standard = [
                slow_norm(norm, given_maps[s][image, region])
                for s, norm in zip((8, 16, 32), fusion.standard, strict=True)
            ]
            v = fusion.project.weight @ (normalize(standard[2], dim=0) * sqrt(8))
            v = v + fusion.project.bias
            for level, conv, norm in zip(standard[:2], fusion.convs, fusion.norms, strict=True):
                v = v + slow_norm(norm, conv.weight @ level)
            rows.append(v)
    expected = torch.stack(rows).view(IMAGES, REGIONS, 6)
    torch.testing.assert_close(fusion(given_maps), expected)


def test_concatenated_levels_stand_side_by_side_from_small_stride_to_large():
    fusion = Fusion(CHANNELS, 0, concat=True, normalize=False)
    expected = torch.cat([maps()[8], maps()[16], maps()[32]], dim=-1)
    assert fusion.width == 6 + 4 + 8
    torch.testing.assert_close(fusion(maps()), expected)


def test_concatenated_levels_are_projected_to_the_width():
    fusion = Fusion(CHANNELS, 5, concat=True, normalize=False)
    side_by_side = torch.cat([maps()[8], maps()[16], maps()[32]], dim=-1)
    expected = side_by_side @ fusion.project.weight.T + fusion.project.bias
    torch.testing.assert_close(fusion(maps()), expected)


@pytest.mark.parametrize(("concat", "width"), [(True, 6 + 4 + 8), (False, 8)])
def test_every_normalised_region_has_the_length_root_of_its_channels(concat, width):
    fusion = Fusion(CHANNELS, 0, concat=concat, normalize=True)
    fusion(maps(seed=3))  # moves the running statistics
    lengths = fusion.eval()(maps()).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.full((IMAGES, REGIONS), sqrt(width)))


def test_without_normalisation_one_level_comes_out_as_it_went_in():
    fusion = Fusion({32: 8}, 0, concat=False, normalize=False)
    torch.testing.assert_close(fusion(maps()), maps()[32], rtol=0, atol=0)
    assert not list(fusion.parameters())


def test_evaluation_treats_an_image_alike_in_any_company():
    model = network(levels="8+16+32", sit="none")
    model(maps(seed=3))  # moves the running statistics
    model.eval()
    alone = model({s: level[:1] for s, level in maps().items()})
    torch.testing.assert_close(alone.attributes, model(maps()).attributes[:1])


def test_evaluation_standardises_by_the_running_statistics():
    fusion = Fusion({32: 8}, 0, concat=False, normalize=True)
    fusion.standard[0].running_mean.fill_(3.0)
    fusion.standard[0].running_var.fill_(4.0)
    regions = maps()[32]
    expected = normalize((regions - 3) / 2, dim=-1) * sqrt(8)
    torch.testing.assert_close(fusion.eval()(maps()), expected, rtol=1e-4, atol=1e-5)


def test_training_standardises_by_the_batch():
    fusion = Fusion({32: 8}, 0, concat=False, normalize=True)
    regions = maps()[32]
    flat = regions.reshape(-1, 8)
    standard = (regions - flat.mean(dim=0)) / flat.var(dim=0, correction=0).sqrt()
    expected = normalize(standard, dim=-1) * sqrt(8)
    torch.testing.assert_close(fusion.train()(maps()), expected, rtol=1e-4, atol=1e-5)


# Scores


def slow_scores(features, read):
    """e of each image and attribute; `read(a, h)` gives that of feature h of attribute a."""
    rows = [torch.stack([read(a, h) for a, h in enumerate(image)]) for image in features]
    return torch.stack(rows)


@pytest.mark.parametrize("dab", [True, False])
def test_bilinear_scores_are_read_by_the_prototypes_through_a_matrix(dab):
    model = stirred(network(dab=dab, sit="none", width=8)).eval()
    features = model.block(model.fusion(maps()))
    p, w_2 = model.block.prototypes, model.predict
    expected = slow_scores(features, lambda a, h: p[a] @ w_2 @ h)
    torch.testing.assert_close(model(maps()).attributes, expected)


@pytest.mark.parametrize("dab", [True, False])
def test_prototype_scores_are_read_by_the_prototypes_themselves(dab):
    settings = {"attribute_scores": "prototype", "dab": dab, "sit": "none"}
    model = stirred(network(**settings)).eval()
    features = model.block(model.fusion(maps()))
    expected = slow_scores(features, lambda a, h: model.block.prototypes[a] @ h)
    torch.testing.assert_close(model(maps()).attributes, expected)


def test_own_scores_are_read_by_vectors_apart_from_the_prototypes():
    model = stirred(network(attribute_scores="own", sit="none")).eval()
    features = model.block(model.fusion(maps()))
    expected = slow_scores(features, lambda a, h: model.own[a] @ h)
    torch.testing.assert_close(model(maps()).attributes, expected)


@pytest.mark.parametrize("prototypes", ["normal", "words"])
def test_all_readers_start_as_the_prototypes(prototypes):
    # W_2 starts as the identity, w_a as p_a, wherever the prototypes start.
    words = torch.randn(ATTRIBUTES, 3, generator=torch.Generator().manual_seed(4))
    first, *others = (
        network(words, attribute_scores=scored, prototypes=prototypes).eval()(maps()).attributes
        for scored in ("bilinear", "prototype", "own")
    )
    for other in others:
        torch.testing.assert_close(other, first)


def test_own_vectors_are_learnt_apart_from_the_prototypes():
    model = network(attribute_scores="own", sit="none")
    with torch.no_grad():
        model.own.add_(1.0)
    torch.testing.assert_close(model.own, model.block.prototypes + 1)


def test_readers_have_no_image_in_them_and_are_made_once_a_step(monkeypatch):
    made = []
    make = DRMN.readers
    monkeypatch.setattr(DRMN, "readers", lambda model: made.append(make(model)) or made[-1])
    network(sit="attr").train()(maps())  # scores the features before and after the interaction
    (readers,) = made
    assert readers.shape == (ATTRIBUTES, 8)


def test_the_global_branch_reads_the_mean_region():
    model = stirred(network(sit="none")).eval()
    means = [sum(image) / REGIONS for image in model.fusion(maps())]
    expected = [model.global_logits.weight @ mean + model.global_logits.bias for mean in means]
    torch.testing.assert_close(model(maps()).global_logits, torch.stack(expected))


def test_interacted_scores_are_read_with_the_same_predictor():
    model = stirred(network(sit="attr", sit_dropout=0.0)).train()
    scores = model(maps())
    mixed = model.interaction(model.block(model.fusion(maps())))
    readers = model.block.prototypes @ model.predict
    torch.testing.assert_close(scores.interacted_scores, torch.einsum("iaw,aw->ia", mixed, readers))


# The semantic interaction transformer is used in training only


@pytest.mark.parametrize("mode", ["joint", "batch", "attr"])
def test_interaction_is_there_in_training_and_gone_in_evaluation(mode):
    model = network(sit=mode)
    assert model.train()(maps()).interacted_scores.shape == (IMAGES, ATTRIBUTES)
    assert model.eval()(maps()).interacted_scores is None


def test_the_weights_of_the_interaction_change_no_evaluation():
    model = network(sit="joint").eval()
    before = model(maps())
    stirred(model.interaction)
    after = model(maps())
    torch.testing.assert_close(after.attributes, before.attributes, rtol=0, atol=0)
    torch.testing.assert_close(after.global_logits, before.global_logits, rtol=0, atol=0)


# Ablations


FULL = {"fusion", "block", "predict", "interaction", "global_logits"}


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({}, FULL),
        ({"sit": "none"}, FULL - {"interaction"}),
        ({"global_branch": False}, FULL - {"global_logits"}),
        ({"levels": "32"}, FULL - {"fusion"}),
        ({"fusion": "none"}, FULL - {"fusion"}),
        ({"attribute_scores": "prototype"}, FULL - {"predict"}),
        ({"attribute_scores": "own"}, FULL - {"predict"} | {"own"}),
        # There the prototypes read nothing but the scores: a second set would be one too many.
        ({"attribute_scores": "own", "dab": False}, FULL - {"predict"}),
    ],
)
def test_an_ablated_part_has_no_parameters(settings, left):
    assert names(network(**settings)) == left


def test_without_dual_attention_prototypes_alone_are_left_of_it():
    model = network(dab=False)
    assert {name for name, _ in model.block.named_parameters()} == {"prototypes"}
    assert model.attention(maps()) is None


def test_without_dual_attention_every_attribute_reads_the_mean_region():
    model = network(dab=False, sit="none", levels="32", normalize=False).eval()
    expected = maps()[32].mean(dim=1) @ model.block.prototypes.T  # W_2 starts as the identity
    torch.testing.assert_close(model(maps()).attributes, expected)


def test_without_channel_attention_the_gate_alone_is_gone():
    kept = {name for name, _ in network().named_parameters()}
    left = {name for name, _ in network(channel_attention=False).named_parameters()}
    assert {name.split(".")[1] for name in kept - left} == {"gate"}
    assert left < kept


def test_a_level_that_is_not_fused_is_not_looked_at():
    model = network(levels="16+32").eval()
    blank = maps() | {8: torch.full((IMAGES, REGIONS, 6), float("nan"))}
    torch.testing.assert_close(model(blank).attributes, model(maps()).attributes, rtol=0, atol=0)


@pytest.mark.parametrize("levels", ["8", "8+16", "16+32", "8+16+32"])
def test_no_fusion_is_the_coarsest_of_the_levels_alone(levels):
    alone, without = (
        network(**settings, sit="none").eval()
        for settings in ({"levels": levels.split("+")[-1]}, {"levels": levels, "fusion": "none"})
    )
    torch.testing.assert_close(without(maps()).attributes, alone(maps()).attributes)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dab": False},
        {"fusion": "concat"},
        {"sit": "batch"},
        {"attribute_scores": "prototype"},
        {"attribute_scores": "own"},
        {"attribute_scores": "own", "dab": False},
    ],
)
def test_every_parameter_is_trained(settings):
    model = stirred(network(**settings)).train()
    scores = model(maps())
    parts = (scores.attributes, scores.interacted_scores, scores.global_logits)
    sum((part * torch.randn_like(part)).sum() for part in parts).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_attention_is_what_the_fused_regions_give():
    model = stirred(network()).eval()
    weights = model.attention(maps())
    assert weights.shape == (IMAGES, ATTRIBUTES, REGIONS)
    torch.testing.assert_close(weights, model.block.attention(model.fusion(maps())))


# The hyperspherical classifier


def test_logits_are_scaled_cosines():
    # Lengths do not matter: the angles are those of (3, 4) with (1, 0), (0, 1) and (-3, -4).
    attributes = torch.tensor([[7.0, 0.0], [0.0, 0.1], [-3.0, -4.0]])
    logits = hyperspherical(torch.tensor([[3.0, 4.0]]), attributes, 5.0)
    torch.testing.assert_close(logits, 5**2 * torch.tensor([[3 / 5, 4 / 5, -1.0]]))


@given(seeds, st.floats(0.1, 20), st.floats(1e-3, 1e3))
def test_logits_are_bounded_and_do_not_depend_on_lengths(seed, scale, factor):
    chance = torch.Generator().manual_seed(seed)
    scores, attributes = torch.randn(2, 6, 5, generator=chance)
    logits = hyperspherical(scores, attributes, scale)
    assert logits.abs().max() <= scale**2 * (1 + 1e-5)
    longer = hyperspherical(factor * scores, attributes / factor, scale)
    torch.testing.assert_close(longer, logits, rtol=1e-4, atol=1e-4 * scale**2)


def test_scores_of_zero_give_logits_of_zero_and_finite_gradients():
    scores = torch.zeros(2, 5, requires_grad=True)
    logits = hyperspherical(scores, torch.rand(3, 5), 5.0)
    logits.logsumexp(dim=-1).sum().backward()
    assert (logits == 0).all()
    assert scores.grad.isfinite().all()


# Prototypes


def test_prototypes_from_words_are_as_alike_as_the_words():
    # Words 0 and 1 point one way and differ in length; 2 is their opposite; 3 is all zeros, as
    # one of SUN's is; 4 is at right angles to 0.
    words = torch.tensor([[1.0, 1], [3, 3], [-2, -2], [0, 0], [1, -1]])
    made = network(words, prototypes="words", width=64, sit="none").block.prototypes.detach()
    torch.testing.assert_close(made[1], made[0])
    torch.testing.assert_close(made[2], -made[0])
    torch.testing.assert_close(made[3], torch.zeros(64))
    # 64 numbers of variance 1/64 each: length 1 give or take 1/sqrt(2 * 64), cosine 0 give or take
    # 1/sqrt(64).
    assert made[4].norm().item() == pytest.approx(1, abs=4 / sqrt(128))
    assert abs(float(normalize(made[4], dim=0) @ normalize(made[0], dim=0))) < 4 / sqrt(64)


def test_a_word_of_zeros_can_be_trained():
    model = network(torch.zeros(ATTRIBUTES, 4), prototypes="words", sit="attr").train()
    scores = model(maps())
    (scores.attributes.sum() + scores.interacted_scores.sum()).backward()
    assert model.block.prototypes.grad.isfinite().all()
    assert model.block.prototypes.grad.any(dim=1).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"prototypes": "words"},
            'no word vectors (w2v/<NAME>_attribute.npy); use "normal".',
        ),
        ({"levels": "4+32"}, "model.levels 4+32: the features hold 8+16+32."),
        ({"sit_heads": 3}, "model.sit_heads 3 does not divide the width 8."),
    ],
)
def test_a_setting_that_does_not_suit_the_features_is_refused_by_name(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        network(**settings)


def test_heads_that_do_not_divide_a_given_width_are_refused_before_any_network_is_made():
    message = "model.sit_heads must be a divisor of model.width=10; got 4."
    with pytest.raises(ConfigError, match=re.escape(message)):
        ModelConfig(width=10, sit_heads=4)


@pytest.mark.parametrize("width", [0, 10])
def test_the_number_of_heads_does_not_matter_without_an_interaction(width):
    assert network(sit="none", sit_heads=3, width=width).interaction is None

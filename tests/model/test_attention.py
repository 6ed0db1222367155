"""The dual attention block against its equations, written in loops."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import linear, normalize

from drmn.model.attention import ChannelGate, DualAttention

seeds = st.integers(0, 2**32 - 1)


def fresh(*, gated=True, seed=0):
    """A block whose every parameter matters: none is zero, none the identity."""
    torch.manual_seed(seed)
    block = DualAttention(attributes=3, width=8, reduction=2, gated=gated)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return block, torch.randn(2, 5, 8)


def slow_gate(gate, prototype, mean):
    """sigma(MLP(q)) of one explicit q = norm(p) + norm(v)."""
    q = normalize(prototype, dim=0) + normalize(mean, dim=0)
    inner = linear(q, gate.narrow.weight, gate.narrow.bias).clamp(min=0)
    return 1 / (1 + torch.exp(-linear(inner, gate.widen.weight, gate.widen.bias)))


def slow(block, regions):
    """The same equations, one image, one attribute and one region at a time."""
    rows = []
    for image in regions:
        mean = sum(image) / len(image)
        for prototype in block.prototypes:
            weight = torch.stack([torch.exp(prototype @ block.compare @ v) for v in image])
            found = sum(w * v for w, v in zip(weight / weight.sum(), image, strict=True))
            kept = 1 if block.gate is None else slow_gate(block.gate, prototype, mean)
            rows.append(kept * found)
    return torch.stack(rows).view(len(regions), len(block.prototypes), -1)


@pytest.mark.parametrize("gated", [True, False])
def test_attention_matches_the_equations_written_out(gated):
    block, regions = fresh(gated=gated)
    torch.testing.assert_close(block(regions), slow(block, regions))


@given(seeds)
def test_the_gate_of_a_sum_is_found_without_making_the_sum(seed):
    torch.manual_seed(seed)
    gate, prototypes, means = ChannelGate(8, 2), torch.randn(3, 8), torch.randn(4, 8)
    expected = torch.stack([slow_gate(gate, p, mean) for mean in means for p in prototypes])
    torch.testing.assert_close(gate(prototypes, means), expected.view(4, 3, 8))


def test_without_a_gate_a_feature_is_an_average_of_regions():
    # All regions alike: whatever the weights, their average is that region.
    block, regions = fresh(gated=False)
    alike = regions[:, :1].expand(-1, 5, -1)
    torch.testing.assert_close(block(alike), alike[:, :3])


@given(seeds, st.permutations(range(5)))
def test_attention_does_not_depend_on_the_order_of_regions(seed, order):
    block, regions = fresh(seed=seed)
    torch.testing.assert_close(block(regions[:, order]), block(regions))


@given(seeds)
def test_the_weights_of_the_regions_sum_to_one(seed):
    block, regions = fresh(seed=seed)
    weights = block.attention(regions)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 3))


def test_attention_says_where_the_feature_was_taken_from():
    block, regions = fresh(gated=False)
    torch.testing.assert_close(block.attention(regions) @ regions, block(regions))


def test_an_attribute_looks_where_its_prototype_shows():
    block = DualAttention(attributes=2, width=4, gated=False)
    block.prototypes.data = torch.eye(4)[:2]
    # W_1 starts as the identity: the scores of attribute 0 are 2, 0, 0 and of attribute 1 0, 0, 3.
    regions = torch.tensor([[[2.0, 0, 0, 0], [0, 0, 0, 0], [0, 3.0, 0, 0]]])
    expected = torch.tensor([[[2.0, 0, 0], [0, 0, 3.0]]]).exp()
    expected = expected / expected.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(block.attention(regions), expected)


@pytest.mark.parametrize("width", [64, 256, 960])
def test_the_gate_starts_nearly_open(width):
    torch.manual_seed(0)
    # sigma(2) = 0.881, the last bias alone.
    opened = ChannelGate(width, 16)(torch.randn(10, width), torch.randn(6, width))
    assert opened.mean() > 0.85
    assert opened.max() < 1


def test_a_block_without_channel_attention_has_no_parameters_for_it():
    names = {name for name, _ in fresh(gated=False)[0].named_parameters()}
    assert names == {"prototypes", "compare"}


@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 5, 8)])
def test_a_wrong_shape_is_refused_by_name(shape):
    with pytest.raises(TypeError, match="regions"):
        DualAttention(attributes=3, width=8)(torch.randn(*shape))


def test_prototypes_of_another_width_than_the_mean_are_refused_by_name():
    with pytest.raises(TypeError, match="mean"):
        ChannelGate(8, 2)(torch.randn(3, 8), torch.randn(2, 7))

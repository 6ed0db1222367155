"""The semantic interaction transformer against its equations, and who may see whom."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drmn.model.interaction import Encoder, Interaction

WIDTH, HEADS = 8, 2
seeds = st.integers(0, 2**32 - 1)


def interaction(mode, *, inside=WIDTH, layers=1, dropout=0.5, seed=0, **more):
    torch.manual_seed(seed)
    made = Interaction(
        mode, WIDTH, inside=inside, layers=layers, heads=HEADS, dropout=dropout, **more
    ).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # so that no bias is 0 and no norm's weight 1
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def slow_norm(norm, x):
    """LN of one token."""
    centred = x - x.mean()
    return centred / (centred.square().mean() + norm.eps).sqrt() * norm.weight + norm.bias


def slow_head(queries, keys, values):
    """Each query's average of the values, by softmax of its products with the keys over sqrt(d)."""
    rows = []
    for q in queries:
        weight = torch.stack([torch.exp(q @ k / len(k) ** 0.5) for k in keys])
        rows.append(sum(w * v for w, v in zip(weight / weight.sum(), values, strict=True)))
    return torch.stack(rows)


def slow(encoder, tokens):
    """One post-norm layer over one sequence: H' = LN(MHSA(H)+H), then LN(MLP(H')+H')."""
    query, key, value = (tokens @ encoder.project.weight.T + encoder.project.bias).chunk(3, dim=1)
    part = tokens.shape[1] // HEADS
    heads = [
        slow_head(*(x[:, h * part : (h + 1) * part] for x in (query, key, value)))
        for h in range(HEADS)
    ]
    mixed = torch.cat(heads, dim=1) @ encoder.out.weight.T + encoder.out.bias
    rows = []
    for attended, token in zip(mixed, tokens, strict=True):
        first = slow_norm(encoder.norms[0], attended + token)
        inner = (encoder.mlp[0].weight @ first + encoder.mlp[0].bias).clamp(min=0)
        again = encoder.mlp[3].weight @ inner + encoder.mlp[3].bias
        rows.append(slow_norm(encoder.norms[1], again + first))
    return torch.stack(rows)


def test_a_layer_matches_post_norm_attention_written_out():
    layer, tokens = interaction("attr").layers[0], torch.randn(3, 5, WIDTH)
    expected = torch.stack([slow(layer, sequence) for sequence in tokens])
    torch.testing.assert_close(layer(tokens), expected)


def test_layers_follow_each_other():
    made, features = interaction("attr", layers=2), torch.randn(1, 4, WIDTH)
    torch.testing.assert_close(
        made(features)[0], slow(made.layers[1], slow(made.layers[0], features[0]))
    )


def test_the_feed_forward_layer_may_be_of_a_width_of_its_own():
    made, features = interaction("attr", feedforward=20), torch.randn(1, 4, WIDTH)
    assert made.layers[0].mlp[0].out_features == 20
    torch.testing.assert_close(made(features)[0], slow(made.layers[0], features[0]))


def test_attr_makes_a_sequence_of_each_image():
    made, features = interaction("attr"), torch.randn(3, 4, WIDTH)
    expected = torch.stack([slow(made.layers[0], image) for image in features])
    torch.testing.assert_close(made(features), expected)


def test_batch_makes_a_sequence_of_each_attribute():
    made, features = interaction("batch"), torch.randn(3, 4, WIDTH)
    each = [slow(made.layers[0], features[:, a]) for a in range(4)]
    torch.testing.assert_close(made(features), torch.stack(each, dim=1))


def test_joint_makes_one_sequence_of_all():
    made, features = interaction("joint"), torch.randn(3, 4, WIDTH)
    tokens = torch.stack([features[i, a] for i in range(3) for a in range(4)])
    expected = slow(made.layers[0], tokens).view(3, 4, WIDTH)
    torch.testing.assert_close(made(features), expected)


@pytest.mark.parametrize(
    ("mode", "reached"),
    [
        # Attribute 1 of image 2 is changed. Rows: images 0..2; columns: attributes 0..3.
        ("attr", [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]),
        ("batch", [[0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]),
        ("joint", [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]),
    ],
)
def test_a_change_reaches_the_tokens_of_its_own_sequence_alone(mode, reached):
    made, features = interaction(mode), torch.randn(3, 4, WIDTH)
    changed = features.clone()
    changed[2, 1] += torch.randn(WIDTH)
    moved = (made(changed) - made(features)).abs().amax(dim=-1) > 1e-6
    assert moved.int().tolist() == reached


@pytest.mark.parametrize("mode", ["joint", "batch", "attr"])
@given(seeds, st.permutations(range(3)), st.permutations(range(4)))
def test_no_order_of_images_or_attributes_is_known(mode, seed, images, attributes):
    made, features = interaction(mode, seed=seed), torch.randn(3, 4, WIDTH)
    torch.testing.assert_close(
        made(features[images][:, attributes]),
        made(features)[images][:, attributes],
        atol=1e-5,
        rtol=1e-4,
    )


def test_dropout_acts_in_training_alone():
    made, features = interaction("attr"), torch.randn(2, 3, WIDTH)
    torch.testing.assert_close(made(features), made(features), rtol=0, atol=0)
    made.train()
    assert not torch.allclose(made(features), made(features))


def test_without_dropout_training_and_evaluation_agree():
    made, features = interaction("joint", dropout=0.0), torch.randn(2, 3, WIDTH)
    torch.testing.assert_close(made.train()(features), made.eval()(features))


def test_a_narrow_transformer_works_on_projected_features():
    made, features = interaction("attr", inside=4), torch.randn(2, 3, WIDTH)
    narrow = features @ made.narrow.weight.T + made.narrow.bias
    mixed = torch.stack([slow(made.layers[0], image) for image in narrow])
    expected = mixed @ made.widen.weight.T + made.widen.bias
    torch.testing.assert_close(made(features), expected, atol=1e-5, rtol=1e-4)


def test_a_transformer_of_the_features_width_projects_nothing():
    names = {name.split(".")[0] for name, _ in interaction("joint").named_parameters()}
    assert names == {"layers"}


def test_a_wrong_shape_is_refused_by_name():
    with pytest.raises(TypeError, match="tokens"):
        Encoder(WIDTH, HEADS, 0.0)(torch.randn(5, WIDTH))
    with pytest.raises(TypeError, match="features"):
        interaction("joint")(torch.randn(5, WIDTH))

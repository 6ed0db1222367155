"""Several workers compute what one would: real processes, gloo."""

from itertools import count

import pytest
import torch
from processes import CONFIG, on

from drmn import distributed
from drmn.data.splits import development
from drmn.evaluation.validation import predict
from drmn.fields import with_overrides
from drmn.model.norm import BatchNorm
from drmn.training.loop import fit
from drmn.training.stop import PreemptedError


def train(folder, config):
    data = development.open_store(folder)
    *_, last = fit(config, data)
    return last.metrics, last.state["model"]


@pytest.mark.parametrize(
    "settings",
    [
        {"model.sit": "none"},
        {"model.sit": "joint"},
        {"model.sit": "batch", "model.sit_layers": 2},
        {"model.sit": "attr", "model.fusion": "concat"},
        {"model.sit": "none", "loss.global_branch": 0.0},
        {"model.sit": "none", "compute.micro_batch": 9},
    ],
    ids=str,
)
def test_two_workers_learn_what_one_does(toy_store, toy, settings):
    # Batches of 18, 18 and 12 of the 48 training images; two epochs.
    config = with_overrides(CONFIG, settings)
    whole = (
        config
        if not config.compute.micro_batch
        else with_overrides(config, {"compute.micro_batch": 18})
    )
    *_, alone = fit(whole, toy)
    for metrics, state in on(2, train, toy_store, config):
        assert metrics.keys() == alone.metrics.keys()
        for name, value in alone.metrics.items():
            if name.startswith("loss/"):
                assert metrics[name] == pytest.approx(value, rel=2e-5), name
        for name, value in alone.state["model"].items():
            torch.testing.assert_close(state[name], value, rtol=2e-3, atol=2e-4, msg=name)


def leave_and_go_on(folder, config):
    """Train, leaving after the first step of the second epoch: the third that is asked about."""
    data, asked = development.open_store(folder), count(1)
    try:
        list(fit(config, data, leave=lambda: next(asked) == 3))
    except PreemptedError as left:
        *_, last = fit(config, data, resume=left.state)
    return last.metrics, last.state["model"]


def test_two_workers_that_leave_within_an_epoch_go_on_as_if_they_had_not(toy_store):
    config = with_overrides(CONFIG, {"model.sit": "joint", "model.sit_dropout": 0.3})
    straight, left = on(2, train, toy_store, config), on(2, leave_and_go_on, toy_store, config)
    for (metrics, model), (expected, weights) in zip(left, straight, strict=True):
        assert metrics == expected
        assert all(torch.equal(model[name], value) for name, value in weights.items())


def test_in_bfloat16_they_do_too_as_far_as_that_goes(toy_store, toy):
    config = with_overrides(CONFIG, {"model.sit": "batch", "compute.precision": "bf16"})
    *_, alone = fit(config, toy)
    for metrics, _ in on(2, train, toy_store, config):
        assert metrics["loss/total"] == pytest.approx(alone.metrics["loss/total"], rel=0.02)


@pytest.mark.parametrize("sit", ["joint", "batch", "attr"])
def test_a_worker_may_have_no_image_of_a_small_batch(toy_store, toy, sit):
    # Batches of 23, 23 and 2 of the 48 training images: of the last, the third worker has none.
    config = with_overrides(CONFIG, {"model.sit": sit, "optim.batch_size": 23})
    *_, alone = fit(config, toy)
    for metrics, _ in on(3, train, toy_store, config):
        assert metrics["loss/total"] == pytest.approx(alone.metrics["loss/total"], rel=2e-4)


def test_a_local_transformer_sees_its_workers_images_alone(toy_store, toy):
    config = with_overrides(CONFIG, {"model.sit": "joint", "model.sit_scope": "local"})
    *_, alone = fit(config, toy)
    both = on(2, train, toy_store, config)
    losses = [metrics["loss/attribute_branch"] for metrics, _ in both]
    assert losses[0] == losses[1]
    assert losses[0] != pytest.approx(alone.metrics["loss/attribute_branch"], rel=1e-4)


def spread_of(values):
    """Return each worker's rows, all rows, and their gradients by either way of gathering."""
    own = distributed.share(values).clone().requires_grad_()
    out = []
    for way in (distributed.gather, distributed.join):
        rows = way(own)
        ((1 + distributed.rank()) * rows.square()).sum().backward()
        out.append((rows.detach(), own.grad.clone()))
        own.grad = None
    return out


@pytest.mark.parametrize("world", [2, 3])
def test_rows_are_gathered_in_order_with_their_gradients(world):
    values = torch.arange(1.0, 6)  # 5 rows do not divide evenly
    parts = list(values.tensor_split(world))
    for rank, (gathered, joined) in enumerate(on(world, spread_of, values)):
        assert torch.equal(gathered[0], values)
        assert torch.equal(joined[0], values)
        # Worker r takes (1 + r) times the square: together 1 + 2 (+ 3) times, or its own alone.
        torch.testing.assert_close(gathered[1], 2 * parts[rank] * sum(range(1, world + 1)))
        torch.testing.assert_close(joined[1], 2 * parts[rank] * (1 + rank))


def normalised(rows, slope):
    norm = BatchNorm(3)
    own = distributed.share(rows).clone().requires_grad_()
    out = norm(own)
    (out * distributed.share(slope)).sum().backward()
    return own.grad, norm.running_mean, norm.running_var, norm.weight.grad


def test_normalisation_takes_the_statistics_of_all_workers():
    torch.manual_seed(0)
    rows, slope = torch.randn(7, 3), torch.randn(7, 3)
    grad, mean, variance, weight = normalised(rows, slope)
    both = on(2, normalised, rows, slope)
    torch.testing.assert_close(torch.cat([part[0] for part in both]), grad)
    torch.testing.assert_close(sum(part[3] for part in both), weight)
    for part in both:
        torch.testing.assert_close(part[1], mean)
        torch.testing.assert_close(part[2], variance)


def judged(folder):
    from drmn.training.loop import build_head  # noqa: PLC0415

    data = development.open_store(folder)
    model = build_head(CONFIG, data.classes, data.channels)
    made = predict(CONFIG, model, [data.val_seen, data.val_unseen], data.classes)
    return made.class_logits, made.labels


@pytest.mark.parametrize("world", [2, 5])
def test_evaluation_drops_and_doubles_no_image(toy_store, world):
    class_logits, labels = judged(toy_store)
    assert len(labels) == 12 + 30
    for scores, names in on(world, judged, toy_store):  # 12 and 30 images on 5 workers: unevenly
        torch.testing.assert_close(scores, class_logits)
        assert torch.equal(names, labels)

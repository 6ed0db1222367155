"""Training as a stream of epochs."""

import io
from collections import deque
from dataclasses import replace
from itertools import count, islice
from math import cos, pi
from statistics import mean

import pytest
import torch
from toys import write_store

from drmn.config import LossConfig, ModelConfig, OptimConfig, RunConfig
from drmn.data.splits import development
from drmn.data.store import feature_store
from drmn.errors import ConfigError
from drmn.evaluation.validation import validate as validated
from drmn.fields import flatten, with_overrides
from drmn.training.loop import _measured, build_head, fit
from drmn.training.stop import PreemptedError
from drmn.training.trainer import Trainer

CONFIG = RunConfig(
    model=ModelConfig(sit="attr", scale=3.0),
    loss=LossConfig(self_calibration=0.1),
    optim=OptimConfig(epochs=4, batch_size=16, lr=3e-3),
)
METRICS = {
    *("train/grad_norm", "train/lr_head"),
    *("loss/total", "loss/attribute_branch", "loss/self_calibration", "loss/global_branch"),
    *("val/T1", "val/U", "val/S", "val/H", "val/H_se", "val/H_optimal", "val/AUSUC"),
    *("val/gamma", "val/beta", "val/delta", "val/kept"),
    *("val/H_mixture", "val/H_log_mixture", "val/H_bonus", "val/H_logits"),
}


def first(config, data):
    return next(fit(config, data)).metrics


@pytest.mark.long
def test_resuming_changes_nothing(toy):
    straight = [epoch.metrics for epoch in fit(CONFIG, toy)]
    *_, half = islice(fit(CONFIG, toy), 2)
    resumed = [epoch.metrics for epoch in fit(CONFIG, toy, resume=half.state)]
    assert resumed == straight[2:]


def test_a_saved_state_goes_on_like_a_live_one(toy):
    straight = [epoch.metrics for epoch in fit(CONFIG, toy)]
    file = io.BytesIO()
    torch.save(next(fit(CONFIG, toy)).state, file)
    file.seek(0)
    resumed = fit(CONFIG, toy, resume=torch.load(file, weights_only=True))
    assert [epoch.metrics for epoch in resumed] == straight[1:]


def test_a_finished_run_has_nothing_left_to_resume(toy):
    *_, last = fit(CONFIG, toy)
    assert last.number == CONFIG.optim.epochs
    assert list(fit(CONFIG, toy, resume=last.state)) == []


def leaving_after(steps):
    """Return what tells training to leave after so many of the steps that it asks about."""
    asked = count(1)
    return lambda: next(asked) == steps


@pytest.mark.parametrize("micro", [0, 5])
@pytest.mark.parametrize("steps", [1, 3])  # of three an epoch: the last is not asked about
def test_leaving_within_an_epoch_changes_nothing(toy, micro, steps):
    config = with_overrides(
        CONFIG, {"optim.epochs": 2, "model.sit_dropout": 0.3, "compute.micro_batch": micro}
    )
    straight = list(fit(config, toy))
    with pytest.raises(PreemptedError, match="about to go") as left:
        list(fit(config, toy, leave=leaving_after(steps)))
    assert left.value.state["number"] == (steps > 2)
    file = io.BytesIO()
    torch.save(left.value.state, file)
    file.seek(0)
    torch.manual_seed(99)  # another process, of another chance
    rest = list(fit(config, toy, resume=torch.load(file, weights_only=True)))
    assert [epoch.number for epoch in rest] == [1, 2][steps > 2 :]
    assert [epoch.metrics for epoch in rest] == [epoch.metrics for epoch in straight][steps > 2 :]
    for name, value in straight[-1].state["model"].items():
        assert torch.equal(rest[-1].state["model"][name], value), name


def test_a_part_of_an_epoch_resumes_with_smaller_micro_batches(toy):
    fixed = {"optim.epochs": 1, "model.sit": "none", "loss.self_calibration": 0.0}
    config = with_overrides(CONFIG, fixed)
    straight = list(fit(config, toy))
    with pytest.raises(PreemptedError) as left:
        list(fit(config, toy, leave=leaving_after(1)))
    smaller = with_overrides(config, {"compute.micro_batch": 5})
    (rest,) = fit(smaller, toy, resume=left.value.state)
    for name, value in straight[-1].metrics.items():
        assert rest.metrics[name] == pytest.approx(value, rel=1e-3, abs=1e-3), name


def test_time_spent_before_leaving_counts(toy):
    with pytest.raises(PreemptedError) as left:
        list(fit(CONFIG, toy, leave=leaving_after(2)))
    left.value.state["part"]["seconds"] = 1000.0
    (costs, *_) = [epoch.costs for epoch in fit(CONFIG, toy, resume=left.value.state)]
    assert 1000 < costs["cost/seconds"] < 1100


@pytest.mark.long
def test_the_toy_data_is_learnt(toy):
    # 30 images of three classes say little of one run: the mean of three; chance is 1/3.
    runs = [with_overrides(CONFIG, {"optim.epochs": 25, "seed": seed}) for seed in range(3)]
    ends = [deque(fit(run, toy), maxlen=1)[0].metrics for run in runs]
    assert mean(end["val/T1"] for end in ends) > 0.55


def test_the_first_epoch_is_what_it_has_always_been(toy, golden):
    """A changed golden file goes in a commit that says why the mathematics changed."""
    losses = {name: value for name, value in first(CONFIG, toy).items() if "loss/" in name}
    golden("first_epoch", losses)


# Chance


def test_one_seed_gives_one_result_whatever_chance_was_used_before(toy):
    torch.manual_seed(1)
    once = [epoch.metrics for epoch in fit(CONFIG, toy)]
    torch.manual_seed(2)
    again = [epoch.metrics for epoch in fit(CONFIG, toy) if torch.rand(1) < 2]
    assert again == once


CHANGES = [
    {"seed": 1},
    {"model.levels": "32"},
    {"model.fusion": "concat"},
    {"model.fusion": "none"},
    {"model.normalize": False},
    {"model.width": 8},
    {"model.dab": False},
    {"model.channel_attention": False},
    {"model.gate_reduction": 2},
    {"model.prototypes": "words"},
    {"model.attribute_scores": "prototype"},
    {"model.attribute_scores": "own"},
    {"model.sit": "none"},
    {"model.sit": "batch"},
    {"model.sit": "joint"},
    {"model.sit_layers": 2},
    {"model.sit_heads": 2},
    {"model.sit_dropout": 0.1},
    {"model.sit_width": 8},
    {"model.sit_feedforward": 24},
    {"model.sit_embedding": True},
    {"model.global_branch": False},
    {"model.scale": 4.0},
    {"loss.global_branch": 0.5},
    {"loss.self_calibration": 0.3},
    {"loss.attribute_regression": 0.5},
    {"loss.classes": "all"},
    {"optim.sampling": "balanced"},
    {"optim.name": "adamw"},
    {"optim.lr": 1e-3},
    {"optim.weight_decay": 0.05},
    {"optim.batch_size": 8},
    {"optim.warmup": 1.5},
    {"compute.precision": "bf16"},
    {"compute.micro_batch": 8},
    {"optim.schedule": "cosine"},
    {"optim.schedule": "cosine", "optim.epochs": 3},
]


@pytest.fixture(scope="module")
def usual(toy):
    """Return the metrics of the second epoch of the usual settings."""
    torch.set_num_threads(1)
    _, second = islice(fit(CONFIG, toy), 2)
    return second.metrics


@pytest.mark.long
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_each_setting_changes_training_and_trains(toy, usual, change):
    changed = with_overrides(CONFIG, change)
    _, second = islice(fit(changed, toy), 2)
    assert second.metrics["loss/total"] != usual["loss/total"]
    assert all(torch.tensor(value).isfinite() for value in second.metrics.values())


@pytest.mark.parametrize("formula", ["mixture", "bonus", "logits"])
def test_the_ensemble_s_formula_changes_validation_and_no_training(toy, formula):
    usual, other = (
        first(CONFIG, toy),
        first(with_overrides(CONFIG, {"model.ensemble": formula}), toy),
    )
    trained = [name for name in usual if not name.startswith("val/")]
    assert {name: other[name] for name in trained} == {name: usual[name] for name in trained}
    assert other["val/gamma"] != usual["val/gamma"]
    assert (other["val/delta"] != 0) == (formula == "bonus")
    assert (other["val/gamma"] == 0) == (formula == "bonus")


def test_no_setting_is_left_out_of_the_list_above():
    # Some decide the data, not what is done with them; the others need photos, several workers, or
    # change no number that one can see.
    apart = {
        "fold",
        "block",
        "held_out",
        "carried.beta",
        "carried.kept",
        "tier",
        "model.sit_scope",
        "model.ensemble",
        "model.global_input",
        "compute.attention",
    }
    apart |= {name for name in flatten(RunConfig()) if name.startswith("finetune.")}
    apart |= {"compute.checkpointing", "compute.compile", "optim.averaging", "optim.views"}
    assert {name for change in CHANGES for name in change} == flatten(RunConfig()).keys() - apart


def test_stored_views_are_trained_on_unless_they_are_off(toy, toy_store, tmp_path):
    store = feature_store.read(toy_store)
    rows = torch.arange(len(store.catalogue.images))
    maps = {s: level.rows(rows).float() for s, level in store.levels.items()}
    both = {s: torch.cat([level, level.flip(-1)]) for s, level in maps.items()}
    key = replace(store.key, views=1)
    folder = write_store(tmp_path, key, store.catalogue, both)
    data = development.open_store(folder)
    without = with_overrides(CONFIG, {"optim.views": False})
    assert first(without, data) == first(CONFIG, toy)
    assert first(CONFIG, data)["loss/total"] != first(CONFIG, toy)["loss/total"]


# The moving average of the weights

AVERAGED = with_overrides(CONFIG, {"optim.averaging": 0.9, "optim.epochs": 3})


def test_the_average_is_that_of_the_weights_after_each_step(toy):
    config = with_overrides(AVERAGED, {"optim.batch_size": len(toy.train), "optim.epochs": 3})
    steps = [
        {name: weight.clone() for name, weight in epoch.state["trained"].items()}
        for epoch in fit(config, toy)
    ]  # a batch is an epoch: the weights of an epoch are those of a step
    *_, last = fit(config, toy)
    name = "global_logits.weight"
    wanted = steps[0][name]
    for taken, step in enumerate(steps[1:], start=1):
        decay = min(0.9, (1 + taken) / (10 + taken))
        wanted = decay * wanted + (1 - decay) * step[name]
    torch.testing.assert_close(last.state["model"][name], wanted)


def test_the_average_is_validated_and_changes_no_step(toy):
    usual = [e.metrics for e in fit(with_overrides(AVERAGED, {"optim.averaging": 0.0}), toy)]
    averaged = [epoch.metrics for epoch in fit(AVERAGED, toy)]
    for name in ("loss/total", "train/grad_norm"):
        assert [m[name] for m in averaged] == [m[name] for m in usual]
    assert [m["val/gamma"] for m in averaged] != [m["val/gamma"] for m in usual]
    *_, last = fit(AVERAGED, toy)
    head = build_head(AVERAGED, toy.classes, toy.channels)
    head.load_state_dict(last.state["model"])
    assert validated(AVERAGED, head, toy)["val/H"] == last.metrics["val/H"]


def test_a_resumed_average_goes_on_as_it_would_have(toy):
    straight = [epoch.metrics for epoch in fit(AVERAGED, toy)]
    file = io.BytesIO()
    torch.save(next(fit(AVERAGED, toy)).state, file)
    file.seek(0)
    resumed = fit(AVERAGED, toy, resume=torch.load(file, weights_only=True))
    assert [epoch.metrics for epoch in resumed] == straight[1:]


# The learning rate


def test_the_optimizer_is_given_the_rate_of_its_epoch(toy):
    config = with_overrides(CONFIG, {"optim.schedule": "cosine"})
    rates = [e.state["optimizer"]["param_groups"][0]["lr"] for e in fit(config, toy)]
    expected = [3e-3 * (1 + cos(pi * done / 4)) / 2 for done in range(4)]
    assert rates == pytest.approx(expected)


# What training may see


def test_training_never_sees_a_validation_image(toy, toy_store, tmp_path):
    store = feature_store.read(toy_store)
    hidden = torch.cat([toy.val_seen.rows, toy.val_unseen.rows])
    maps = {s: level.rows(torch.arange(level.shape[0])) for s, level in store.levels.items()}
    for level in maps.values():
        level[hidden] = float("nan")
    blind = development.open_store(write_store(tmp_path, store.key, store.catalogue, maps))
    assert blind.val_seen.batch(torch.tensor([0])).inputs[32].isnan().all()
    assert train_losses(blind) == train_losses(toy)


def train_losses(data):
    trainer = Trainer(CONFIG, build_head(CONFIG, data.classes, data.channels), data)
    return [{k: v for k, v in trainer.epoch(number).items() if "loss/" in k} for number in (1, 2)]


def test_validation_changes_neither_the_model_nor_the_chance_of_training(toy):
    model = build_head(CONFIG, toy.classes, toy.channels).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    chance = torch.get_rng_state()
    validated(CONFIG, model, toy)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), chance)


# Metrics


def test_the_losses_are_averaged_over_images_and_not_over_batches(toy):
    # 48 images in batches of 32 and 16. Rates of almost nothing keep the network as it is, and no
    # normalisation or dropout depends on the batch.
    quiet = {
        "model.normalize": False,
        "model.levels": "32",
        "model.sit": "none",
        "optim.lr": 1e-12,
        "loss.self_calibration": 0,
    }
    uneven, whole = (
        first(with_overrides(CONFIG, quiet | {"optim.batch_size": size}), toy) for size in (32, 48)
    )
    assert uneven["loss/total"] == pytest.approx(whole["loss/total"], rel=1e-5)


def test_the_total_is_the_weighted_sum_of_the_other_losses(toy):
    made = first(with_overrides(CONFIG, {"loss.global_branch": 0.5}), toy)
    assert made["loss/total"] == pytest.approx(
        made["loss/attribute_branch"]
        + 0.1 * made["loss/self_calibration"]
        + 0.5 * made["loss/global_branch"]
    )


def test_every_epoch_has_all_metrics_and_they_agree(toy):
    for number, epoch in enumerate(fit(CONFIG, toy), 1):
        m = epoch.metrics
        assert epoch.number == number
        assert m.keys() == METRICS
        assert m["val/H"] == pytest.approx(
            2 * m["val/U"] * m["val/S"] / (m["val/U"] + m["val/S"]) if m["val/H"] else 0
        )
        assert m["val/H"] <= m["val/H_optimal"] + 1e-9
        assert m["val/U"] <= m["val/T1"] + 1e-9  # without a bonus T1 has fewer rivals
        assert 0 <= m["val/AUSUC"] <= m["val/T1"]


def test_an_epoch_on_the_cpu_has_no_memory_of_a_gpu_even_where_there_is_one(toy, monkeypatch):
    trainer = Trainer(CONFIG, build_head(CONFIG, toy.classes, toy.channels), toy)
    monkeypatch.setattr(trainer, "epoch", lambda *_: {})
    trainer.seconds = 0.5
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: 2**20)
    _, costs = _measured(trainer, 1)
    assert costs.keys() == {"cost/seconds", "cost/images_per_second"}
    assert costs["cost/images_per_second"] == pytest.approx(48 / costs["cost/seconds"])


def test_each_epoch_has_the_peak_of_its_own_memory(toy, monkeypatch):
    # Seen from the trainer: 5 MB are held at the start, and an epoch's peak is 1 MB above them.
    peak, trainer = [9.0], Trainer(CONFIG, build_head(CONFIG, toy.classes, toy.channels), toy)
    trainer.device = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: peak.append(5.0))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: peak[-1] * 2**20)
    monkeypatch.setattr(trainer, "epoch", lambda *_: peak.append(peak[-1] + 1) or {})
    trainer.seconds = 0.5
    assert [_measured(trainer, n)[1]["cost/device_memory_mb"] for n in (1, 2)] == [6.0, 6.0]


def test_a_network_without_a_global_branch_gives_it_no_share(toy):
    made = first(with_overrides(CONFIG, {"model.global_branch": False}), toy)
    assert made["val/beta"] == 0
    assert made.keys() == METRICS - {"loss/global_branch"}


def test_a_backbone_is_not_trained_on_stored_features(toy):
    with pytest.raises(ConfigError, match=r"use jobs/train\.py --tier finetuned"):
        first(with_overrides(CONFIG, {"tier": "finetuned"}), toy)

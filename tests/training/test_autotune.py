"""How a step is computed: the plain way for small work, the fastest for large."""

import time

import pytest
import torch
from torch import nn

from drmn.config import ComputeConfig, ModelConfig, RunConfig
from drmn.training import autotune as module
from drmn.training.autotune import TrainStepMode, autotune, candidates
from drmn.training.loop import build_head
from drmn.training.trainer import Trainer

AUTO = ComputeConfig()


@pytest.mark.parametrize(
    ("config", "pairs", "left"),
    [
        (AUTO, 0, [TrainStepMode("fp32"), TrainStepMode("bf16")]),
        (
            AUTO,
            1000,
            [
                TrainStepMode("fp32", "fused"),
                TrainStepMode("fp32", "plain"),
                TrainStepMode("bf16", "fused"),
                TrainStepMode("bf16", "plain"),
            ],
        ),
        (
            AUTO,
            2**40,
            [TrainStepMode("fp32", "fused"), TrainStepMode("bf16", "fused")],
        ),  # no table of all pairs fits
        (ComputeConfig(precision="bf16"), 0, [TrainStepMode("bf16")]),
        (
            ComputeConfig(precision="fp32", attention="plain"),
            2**40,
            [TrainStepMode("fp32", "plain")],
        ),
    ],
)
def test_ways_are_what_the_settings_leave(config, pairs, left):
    assert candidates(config, pairs) == left


def step(model, way):
    """Take longer the plainer it is."""
    with way.applied(torch.device("cpu")):
        model(torch.randn(64, 64)).sum().backward()
    time.sleep(0.02 if way.precision == "fp32" else 0.0)


def test_small_work_is_done_the_plain_way_however_slow():
    assert autotune(AUTO, nn.Linear(64, 64), step, times=10, pairs=0) == TrainStepMode()


def test_large_work_is_done_the_fastest_way():
    # 64 * 64 * 64 products of 2 operations, twice with the gradient's: 1e6 a step.
    assert autotune(AUTO, nn.Linear(64, 64), step, times=1e8, pairs=0) == TrainStepMode("bf16")


def test_a_test_changes_neither_the_network_nor_chance():
    model = nn.Linear(64, 64)
    before, chance = model.weight.clone(), torch.get_rng_state()
    autotune(AUTO, model, step, times=1e8, pairs=0)
    assert torch.equal(model.weight, before)
    assert model.weight.grad is None
    assert torch.equal(torch.get_rng_state(), chance)


def test_a_way_that_this_machine_lacks_is_passed_over():
    def fails(model, way):
        if way.precision == "bf16":
            raise RuntimeError("no such kernel")
        step(model, way)

    assert autotune(AUTO, nn.Linear(64, 64), fails, times=1e8, pairs=0) == TrainStepMode()


@pytest.mark.parametrize(("seconds", "steps"), [(0.1, 3), (0.45, 3), (0.6, 2), (4, 2), (6, 1)])
def test_a_way_is_tried_for_about_a_second(monkeypatch, seconds, steps):
    clock = [0.0]

    def slow(model, way):
        del model, way
        clock.append(clock[-1] + seconds)

    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[-1])
    assert module._seconds(nn.Linear(1, 1), slow, TrainStepMode()) == pytest.approx(seconds)
    assert len(clock) - 1 == steps


def test_a_training_takes_the_way_that_is_faster(toy, monkeypatch):
    config = RunConfig(model=ModelConfig(sit="attr"))
    fast = TrainStepMode("bf16", "plain")
    monkeypatch.setattr(module, "MIN_OPERATIONS_TO_TEST", 0)
    monkeypatch.setattr(module, "_seconds", lambda model, step, way: 1.0 if way == fast else 2.0)
    trainer = Trainer(config, build_head(config, toy.classes, toy.channels), toy)
    trainer.begin()
    assert trainer.way == fast


def test_a_gain_within_noise_is_none(monkeypatch):
    seconds = iter([1.0, 0.95])
    monkeypatch.setattr(module, "_seconds", lambda *_: next(seconds))
    assert autotune(AUTO, nn.Linear(64, 64), step, times=1e8, pairs=0) == TrainStepMode()


def test_bfloat16_is_taken_in_the_network_and_float32_after_it():
    model = nn.Linear(4, 4)
    with TrainStepMode("bf16").applied(torch.device("cpu")):
        assert model(torch.randn(2, 4)).dtype == torch.bfloat16
    assert model(torch.randn(2, 4)).dtype == torch.float32

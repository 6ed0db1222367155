"""Settings are refused by name, and one dotted name finds the same field everywhere."""

import re
from dataclasses import FrozenInstanceError, replace
from importlib.util import module_from_spec, spec_from_file_location

import pytest
from hypothesis import given
from hypothesis import strategies as st

import drmn.config
import drmn.data.feature_config
from drmn.errors import ConfigError, UserError
from drmn.fields import flatten, with_overrides
from drmn.level_names import parse_levels


def as_imported_by_users(module):
    """The module without the tests' own type checks, which would refuse a bad value first."""
    spec = spec_from_file_location(f"plain_{module.__name__}", module.__file__)
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


plain = as_imported_by_users(drmn.config)
LossConfig, ModelConfig = plain.LossConfig, plain.ModelConfig
OptimConfig, RunConfig = plain.OptimConfig, plain.RunConfig
FeatureConfig = as_imported_by_users(drmn.data.feature_config).FeatureConfig

CHANGES = {
    "model.levels": st.sampled_from(["32", "16+32", "8+16+32"]),
    "model.sit": st.sampled_from(["joint", "batch", "attr", "none"]),
    "model.dab": st.booleans(),
    "model.width": st.integers(0, 1024).map(lambda quarter: 4 * quarter),  # four heads
    "model.scale": st.floats(0.1, 20),
    "loss.self_calibration": st.floats(0, 100),
    "optim.name": st.sampled_from(["adam", "adamw"]),
    "optim.lr": st.floats(1e-6, 1),
    "optim.batch_size": st.integers(2, 512),
    "seed": st.integers(0, 2**31 - 1),
    "fold": st.sampled_from([1, 2, 3]),
}
changes = st.fixed_dictionaries({}, optional=CHANGES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # An unknown name: the nearest known one, and all of them where none is near.
        ({"optim.lrr": 0.1}, "Unknown setting 'optim.lrr'. Did you mean 'optim.lr'?"),
        ({"lr": 0.1}, "Unknown setting 'lr'. Known: model.levels, model.fusion, "),
        ({"optim": {"lr": 0.1}}, "Unknown setting 'optim'."),
        ({"model.gamma": 0.7}, "Unknown setting 'model.gamma'."),
        # Another type. '1e-4' is what PyYAML makes of `lr: 1e-4`.
        ({"optim.lr": "1e-4"}, "optim.lr must be float; got '1e-4' (str)."),
        ({"optim.lr": True}, "optim.lr must be float; got True (bool)."),
        ({"optim.epochs": True}, "optim.epochs must be int; got True (bool)."),
        ({"optim.epochs": 8.0}, "optim.epochs must be int; got 8.0 (float)."),
        ({"model.dab": 1}, "model.dab must be bool; got 1 (int)."),
        ({"model.levels": 32}, "model.levels must be str; got 32 (int)."),
        ({"seed": None}, "seed must be int; got None (NoneType)."),
        # Out of range, at the very edge of it where there is one.
        ({"optim.lr": -1.0}, "optim.lr must be in (0, 10); got -1.0."),
        ({"optim.lr": 0}, "optim.lr must be in (0, 10); got 0.0."),
        ({"optim.lr": float("nan")}, "optim.lr must be in (0, 10); got nan."),
        ({"optim.weight_decay": 1.0}, "optim.weight_decay must be in [0, 1); got 1.0."),
        ({"optim.epochs": 0}, "optim.epochs must be positive; got 0."),
        ({"optim.batch_size": 1}, "optim.batch_size must be at least 2; got 1."),
        ({"loss.global_branch": -0.1}, "loss.global_branch must be in [0, 100]; got -0.1."),
        ({"loss.self_calibration": float("inf")}, "loss.self_calibration must be in [0, 100]"),
        ({"model.sit_dropout": 1.0}, "model.sit_dropout must be in [0, 1); got 1.0."),
        ({"model.sit_layers": 9}, "model.sit_layers must be in 1..8; got 9."),
        ({"model.scale": 20.5}, "model.scale must be in (0, 20]; got 20.5."),
        ({"model.width": 4097}, "model.width must be in 0..4096; got 4097."),
        ({"model.gate_reduction": 0}, "model.gate_reduction must be positive; got 0."),
        ({"model.sit_heads": 0}, "model.sit_heads must be positive; got 0."),
        ({"seed": 2**31}, "seed must be in 0..2147483647; got 2147483648."),
        ({"fold": 4}, "fold must be 1, 2 or 3; got 4."),
        # One of a few words, and what depends on another setting.
        ({"optim.name": "sgd"}, "optim.name must be one of adam, adamw; got 'sgd'."),
        ({"model.sit": "off"}, "model.sit must be one of joint, batch, attr, none; got 'off'."),
        (
            {"model.width": 256, "model.sit_heads": 7},
            "model.sit_heads must be a divisor of model.width=256; got 7.",
        ),
        (
            {"model.levels": "16,32"},
            "or blocks, such as \"b4+b8+b12\"; got '16,32'.",
        ),
    ],
)
def test_a_bad_setting_is_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        with_overrides(RunConfig(), changes)


@pytest.mark.parametrize("size", [1, 31, 1025, -224])
def test_a_bad_image_size_is_refused_by_name(size):
    message = f"image_size must be 0 or in 32..1024; got {size}."
    with pytest.raises(ConfigError, match=re.escape(message)):
        FeatureConfig(image_size=size)


@pytest.mark.parametrize(
    "make",
    [
        lambda: OptimConfig(lr=-1.0),
        lambda: replace(RunConfig(), fold=0),
        lambda: RunConfig(loss=LossConfig(global_branch=101.0)),
        lambda: ModelConfig(width=6),  # four heads
        lambda: FeatureConfig(levels="8+"),
    ],
)
def test_whatever_the_way_in_a_bad_value_has_no_config(make):
    with pytest.raises(UserError):
        make()


def test_a_whole_number_is_taken_for_a_float_and_becomes_one():
    lr = with_overrides(RunConfig(), {"optim.lr": 1}).optim.lr
    assert lr == 1.0
    assert type(lr) is float


def test_two_changes_are_checked_together_and_not_one_after_the_other():
    # Three heads do not divide a width of 256, nor four heads one of 6: each alone is refused.
    base = with_overrides(RunConfig(), {"model.width": 256})
    config = with_overrides(base, {"model.sit_heads": 3, "model.width": 6})
    assert (config.model.sit_heads, config.model.width) == (3, 6)
    for alone in ({"model.sit_heads": 3}, {"model.width": 6}):
        with pytest.raises(ConfigError, match="divisor"):
            with_overrides(base, alone)


def test_flatten_names_fields_by_their_path():
    flat = flatten(RunConfig(optim=OptimConfig(lr=0.5), seed=3))
    assert flat["optim.lr"] == 0.5
    assert flat["seed"] == 3
    assert next(iter(flat)) == "model.levels"
    # 21 of the model, 4 of the loss, 10 of the optimiser, 3 of the backbone, 5 of computing, the
    # tier, the seed and the fold.
    assert len(flat) == 21 + 4 + 10 + 3 + 5 + 5 + 2


@given(changes)
def test_a_flattened_config_makes_the_same_config_again(changes):
    config = with_overrides(RunConfig(), changes)
    assert with_overrides(RunConfig(), flatten(config)) == config


@given(changes)
def test_overrides_change_what_they_name_and_nothing_else(changes):
    changed = flatten(with_overrides(RunConfig(), changes))
    assert changed == {**flatten(RunConfig()), **changes}


def test_a_run_cannot_change_its_own_settings():
    config = RunConfig()
    with pytest.raises(FrozenInstanceError):
        config.optim.lr = 0.1
    before = flatten(config)
    with_overrides(config, {"optim.lr": 0.1, "seed": 9})
    assert flatten(config) == before


@pytest.mark.parametrize(
    ("levels", "want"),
    [
        ("32", (32,)),
        ("16+32", (16, 32)),
        ("32+8+16", (8, 16, 32)),
        ("16+16", (16,)),
        ("b12+b4", ("b4", "b12")),
        ("b-1+b2+b-3", ("b2", "b-3", "b-1")),
    ],
)
def test_levels_come_in_rising_order_and_once(levels, want):
    assert parse_levels(levels) == want


@pytest.mark.parametrize(
    "levels", ["", "+", "16+", "0+32", "-16", "16 + 32", "4.0", "layer4", "b0", "b4+16", "b--1"]
)
def test_what_are_no_strides_is_refused_with_an_example(levels):
    message = (
        'levels must be strides joined by "+", such as "16+32", or blocks, such as "b4+b8+b12"; '
        f"got {levels!r}."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        parse_levels(levels)

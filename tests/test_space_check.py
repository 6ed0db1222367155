"""Spaces are refused before anything runs, wherever among their points the mistake is."""

import pytest

from drmn import space as spaces
from drmn.config import RunConfig
from drmn.errors import ConfigError
from drmn.space_check import check_space

NAMES = sorted(file.stem for file in spaces.SPACES.glob("*.py"))


def twice(trial):
    trial.suggest_float("optim.lr", 1e-4, 1e-2)
    trial.suggest_float("optim.lr", 1e-4, 1e-2)
    return {}


def twice_in_a_branch(trial):
    if trial.suggest_categorical("model.sit", ["joint", "attr", "none"]) == "none":
        trial.suggest_int("model.sit_heads", 1, 1)
        trial.suggest_int("model.sit_heads", 1, 1)
    return {"model.width": 64}


def no_divisor(trial):
    trial.suggest_categorical("model.width", [64, 128, 100])
    trial.suggest_categorical("model.sit_heads", [4, 8])
    return {}


def out_of_range_at_an_end(trial):
    trial.suggest_int("optim.batch_size", 1, 64)
    return {}


def raises_in_a_branch(trial):
    if trial.suggest_categorical("model.fusion", ["add", "concat"]) == "concat":
        raise KeyError("width")
    return {}


def one_or_true(trial):
    if trial.suggest_categorical("model.fusion", ["add", "concat"]) == "concat":
        trial.suggest_categorical("seed", [1, 2])
    else:
        trial.suggest_categorical("seed", [1, 3])
    return {}


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (twice, "asks for optim.lr twice in one trial"),
        (twice_in_a_branch, "asks for model.sit_heads twice in one trial"),
        (no_divisor, r"no valid run: model.sit_heads must be a divisor of model.width=100; got 8"),
        (out_of_range_at_an_end, "optim.batch_size must be at least 2; got 1"),
        (raises_in_a_branch, "The space raised KeyError: 'width'"),
        (one_or_true, r"choices \[1, [23]\] in one branch and as choices \[1, [23]\] in another"),
    ],
)
def test_a_mistake_in_any_branch_is_found(space, words):
    with pytest.raises(ConfigError, match=words):
        check_space(space, RunConfig())


@pytest.mark.parametrize("name", NAMES)
def test_the_spaces_there_are_pass(name):
    check_space(spaces.load(name), RunConfig())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dyncat", r"optim.batch_size as choices \[\d+, \d+\] in one branch and as choices"),
        ("dynkind", "optim.lr as float .* in one branch and as float .* in another"),
        ("none", "optim.schedule among .*None.*: choices are words, numbers, True or False"),
        ("ok", ""),
    ],
)
def test_spaces_as_people_write_them(shared, name, words):
    space = spaces.load(str(shared("field") / "spaces" / f"{name}.py"))
    if not words:
        check_space(space, RunConfig())
        return
    with pytest.raises(ConfigError, match=words):
        check_space(space, RunConfig())

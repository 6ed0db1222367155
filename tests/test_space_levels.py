"""Spaces on the levels that features hold."""

import optuna
import pytest

from drmn import space as spaces
from drmn.config import RunConfig
from drmn.errors import ConfigError
from drmn.fields import with_overrides
from drmn.space_levels import held_choices, on_held_levels, require_held_levels

CHOICES = ["16+32", "32", "8+16+32"]


@pytest.mark.parametrize(
    ("held", "want"),
    [
        ("8+16+32", CHOICES),
        ("16+32", ["16+32", "32"]),
        ("b4+b8+b12", ["b8+b12", "b12", "b4+b8+b12"]),
        ("b12", ["b12"]),
        ("4", ["4"]),
    ],
)
def test_only_what_features_hold_is_chosen_from(held, want):
    assert held_choices(CHOICES, held) == want


@pytest.mark.parametrize("name", ["own", "cub", "awa2", "sun", "demo"])
def test_each_space_is_searched_on_the_blocks_of_a_transformer(name):
    space = on_held_levels(spaces.load(name), "b4+b8+b12")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(20):
        trial = study.ask()
        seen.add(spaces.settings(RunConfig(), space(trial), trial.params).model.levels)
    assert seen == {"b8+b12", "b12", "b4+b8+b12"}
    require_held_levels(spaces.load(name), RunConfig(), "b4+b8+b12")


def test_a_space_that_leaves_levels_alone_is_told_what_features_hold():
    def space(trial):
        trial.suggest_float("optim.lr", 1e-4, 1e-2)
        return {}

    with pytest.raises(ConfigError, match=r"16\+32: the features hold b4\+b12; name some of them"):
        require_held_levels(space, RunConfig(), "b4+b12")
    base = with_overrides(RunConfig(), {"model.levels": "b12"})
    require_held_levels(space, base, "b4+b12")

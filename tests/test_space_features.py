"""Spaces on what features hold: levels and augmented views."""

import optuna
import pytest

from drmn import space as spaces
from drmn.config import RunConfig
from drmn.errors import ConfigError
from drmn.fields import with_overrides
from drmn.level_names import resolve
from drmn.search.study.plan import RunPlan, StudyPlan, on_levels
from drmn.space_features import (
    HeldFeatures,
    held_choices,
    on_held_features,
    require_held_levels,
)

CHOICES = ["16+32", "32", "8+16+32"]


@pytest.mark.parametrize(
    ("held", "want"),
    [
        ("8+16+32", CHOICES),
        ("cls+b8+b12", ["b8+b12", "b12"]),  # the class token is no map
        ("16+32", ["16+32", "32"]),
        ("b4+b8+b12", ["b8+b12", "b12", "b4+b8+b12"]),
        ("b12", ["b12"]),
        ("4", ["4"]),
    ],
)
def test_only_what_features_hold_is_chosen_from(held, want):
    assert held_choices(CHOICES, held) == want


@pytest.mark.parametrize(
    ("levels", "held", "want"),
    [
        ("b-1", "b4+b8+b12", "b12"),
        ("b-3+b-1", "b4+b8+b12", "b4+b12"),
        ("b8+b-2", "b4+b8+b12", "b8"),  # both are one
        ("b-4", "b4+b8+b12", "b-4"),  # not held: refused later, by this name
        ("b-1", "8+16+32", "b-1"),
        ("32+16", "16+32", "32+16"),
    ],
)
def test_blocks_from_the_last_one_get_the_names_that_features_hold(levels, held, want):
    assert resolve(levels, held) == want


def from_the_end(trial):
    if trial.suggest_categorical("model.levels", ["b-2+b-1", "b-1", "b12", "b-9"]) != "b-1":
        trial.suggest_categorical("model.fusion", ["add", "concat"])
    return {}


def test_a_space_names_the_last_block_and_the_record_holds_its_name():
    space, study = on_held_features(from_the_end, HeldFeatures("b4+b8+b12")), optuna.create_study()
    seen = {}
    for levels in ("b12", "b8+b12"):
        study.enqueue_trial({"model.levels": levels, "model.fusion": "add"})
        trial = study.ask()
        settings = spaces.settings(RunConfig(), space(trial), trial.params)
        seen[settings.model.levels] = "model.fusion" in trial.params
        assert trial.distributions["model.levels"].choices == ("b8+b12", "b12")
    assert seen == {"b12": False, "b8+b12": True}  # the space was answered with its own word
    require_held_levels(from_the_end, RunConfig(), "b4+b8+b12")


def test_a_space_that_fixes_the_last_block_gets_its_name():
    space = on_held_features(lambda _: {"model.levels": "b-2"}, HeldFeatures("b4+b8+b12"))
    assert spaces.baseline_run(space, RunConfig()).model.levels == "b8"
    with pytest.raises(ConfigError, match=r"b-2: the features hold 16\+32"):
        require_held_levels(lambda _: {"model.levels": "b-2"}, RunConfig(), "16+32")


def test_the_class_token_is_asked_for_where_features_hold_it():
    def space(trial):
        trial.suggest_categorical("model.global_input", ["pooled", "cls"])
        return {"model.levels": "b-1"}

    for held, choices in (("b4+b12", ("pooled",)), ("cls+b4+b12", ("pooled", "cls"))):
        trial = optuna.create_study().ask()
        assert on_held_features(space, HeldFeatures(held))(trial) == {"model.levels": "b12"}
        assert trial.distributions["model.global_input"].choices == choices
    base = with_overrides(RunConfig(), {"model.global_input": "cls", "model.levels": "b12"})
    require_held_levels(lambda _: {}, base, "cls+b12")
    with pytest.raises(ConfigError, match=r"hold b12, and no class token; .* --levels cls\+b12,"):
        require_held_levels(lambda _: {}, base, "b12")


@pytest.mark.parametrize("views", [0, 3])
def test_augmented_views_are_asked_for_where_features_hold_them(views):
    def space(trial):
        choice = trial.suggest_categorical("optim.views", [False, True])
        trial.suggest_categorical("model.fusion", ["add", "concat"])
        return {"optim.averaging": 0.5 if choice else 0.0}

    held, study = HeldFeatures("16+32", views), optuna.create_study()
    asked = [study.ask() for _ in range(20)]
    constants = [on_held_features(space, held)(trial) for trial in asked]
    assert {"optim.views" in trial.params for trial in asked} == {views > 0}
    # A space that asks is answered: with its first choice where there is nothing to choose.
    found = {each["optim.averaging"] for each in constants}
    assert found == ({0.0, 0.5} if views else {0.0})


def test_the_plan_of_a_search_or_run_and_its_identity_hold_the_name(tmp_path):
    base = with_overrides(RunConfig(), {"model.levels": "b-1"})
    where = {"dataset": "demo", "tracking_uri": "sqlite:///m.db", "base": base}
    run = on_levels(RunPlan(folder=tmp_path / "runs" / "r", **where), "b4+b12")
    assert run.identity(tmp_path)["model.levels"] == "b12"
    folder, given = tmp_path / "studies" / "s", {"model.levels": "b-1"}
    search = on_levels(StudyPlan(folder=folder, space="cub", given=given, **where), "b4+b12")
    found = search.identity(tmp_path)
    assert (found["base.model.levels"], found["given.model.levels"]) == ("b12", "b12")
    assert spaces.baseline_run(search.search_space, search.base).model.levels == "b12"


@pytest.mark.parametrize("name", ["own", "cub", "awa2", "sun", "demo"])
def test_each_space_is_searched_on_the_blocks_of_a_transformer(name):
    space = on_held_features(spaces.load(name), HeldFeatures("b4+b8+b12"))
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

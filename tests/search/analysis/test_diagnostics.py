"""What a search says about its space when it ends."""

import re

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial

from drmn.search.analysis.diagnostics import effects, notes
from drmn.search.analysis.parameter_effects import effect
from drmn.search.trial_summary import summarize

SPACE = {
    "optim.lr": FloatDistribution(1e-4, 1e-2, log=True),
    "model.scale": FloatDistribution(1.0, 5.0),
    "model.fusion": CategoricalDistribution(["add", "concat"]),
}


def trials(count, value, **more):
    """Return trials at points of chance, worth `value(params)` in their one epoch."""
    chance, made = np.random.default_rng(0), []
    for number in range(count):
        params = {
            "optim.lr": float(10 ** chance.uniform(-4, -2)),
            "model.scale": float(chance.uniform(1, 5)),
            "model.fusion": str(chance.choice(["add", "concat"])),
        }
        worth = value(params)
        trial = create_trial(
            value=worth,
            params=params,
            distributions=SPACE,
            intermediate_values={1: worth},
            user_attrs={"settings": {}, "epoch/1": {"val/H": worth, **more}},
        )
        trial.number = number
        made.append(trial)
    return made


def said(made):
    rows = [summarize(trial) for trial in made]
    return notes(max(rows, key=lambda row: row.value), rows, made, rung=1)


def test_a_best_value_on_the_border_of_its_range_is_told():
    # The best is at the highest scale drawn, and at a rate in the middle.
    made = trials(60, lambda p: p["model.scale"] - abs(np.log10(p["optim.lr"]) + 3))
    (note,) = [note for note in said(made) if "range" in note]
    assert note.startswith("model.scale: the best value, 4.9")
    assert "is at the high end of its range (1 to 5)" in note


def test_nothing_is_advised_where_nothing_differs_by_more_than_a_standard_error():
    def worth(params):
        return params["model.scale"] - abs(np.log10(params["optim.lr"]) + 3)

    assert not [n for n in said(trials(60, worth, **{"val/H_se": 0.5})) if "widen" in n]
    assert not [n for n in said(trials(60, lambda _: 1.0)) if "widen" in n or "constant" in n]


def rough(params):
    """Return what depends on the rate, best in the middle, on the fusion, and not on the scale."""
    far = (np.log10(params["optim.lr"]) + 3) ** 2
    return -far + 0.6 * (params["model.fusion"] == "add") + 0.1 * np.sin(1e6 * params["optim.lr"])


def test_what_has_an_effect_is_told_the_largest_first():
    """A best value in the middle of the range has an effect as well, though no correlation."""
    (note,) = [note for note in said(trials(60, rough)) if "explain" in note]
    assert re.fullmatch(
        r"of the differences between trials at epoch 1 explain optim\.lr \d+% \(at least \d+%\), "
        r"model\.fusion \d+% \(at least \d+%\)",
        note,
    )


def test_hardly_any_effect_is_told_only_of_many_trials():
    """That none is seen in few trials says nothing."""
    assert not [note for note in said(trials(30, rough)) if "hardly" in note]
    (note,) = [note for note in said(trials(200, rough)) if "hardly" in note]
    assert note.startswith("hardly any effect at epoch 1, ")
    assert note.endswith(
        "% of the differences at most in 200 trials: model.scale; a constant would do"
    )


def test_the_effect_of_a_choice_is_seen():
    made = trials(40, lambda p: float(p["model.fusion"] == "add") + 0.01 * p["optim.lr"])
    assert effects(made, rung=1)[0].name == "model.fusion"
    assert effects(made, rung=1)[0].low > 0.3


@pytest.mark.long
@pytest.mark.parametrize("count", [30, 100])
def test_the_bounds_of_an_effect_hold(count):
    """Half of a normal variance is 0.48 of that of ranks: within, some 19 of 20 times."""
    chance, within = np.random.default_rng(0), 0
    for _ in range(200):
        places = chance.normal(size=count)
        results = places + chance.normal(size=count)
        found = effect("x", places.tolist(), results.tolist(), FloatDistribution(-9, 9), 0.05)
        within += found.low <= 0.476 <= found.high
    assert within >= 180


def test_values_that_are_all_the_same_have_no_effect_to_tell():
    assert effect("x", [1.0] * 30, list(range(30)), FloatDistribution(0, 2), 0.05) is None
    assert effect("x", list(range(30)), [1.0] * 30, FloatDistribution(0, 30), 0.05) is None


def test_a_metric_that_never_changes_is_told():
    made = trials(30, lambda p: p["model.scale"], **{"val/S": 0.0, "val/beta": 0.0})
    assert "val/S: 0 in all 30 trials" in said(made)
    assert not [note for note in said(made) if "val/beta" in note]  # a factor, not a metric


def test_few_trials_say_nothing_of_effects():
    made = trials(10, lambda p: -abs(p["model.scale"] - 3), **{"val/S": 0.0})
    assert not [note for note in said(made) if "effect" in note or "all" in note]

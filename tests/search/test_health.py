"""What a search says about its space when it ends."""

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial

from drmn.search.health import notes
from drmn.search.rows import row_of

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
    rows = [row_of(trial) for trial in made]
    return notes(max(rows, key=lambda row: row.value), rows, made, rung=1)


def test_a_best_value_on_the_border_of_its_range_is_told():
    # The best is at the highest scale drawn, and at a rate in the middle.
    made = trials(60, lambda p: p["model.scale"] - abs(np.log10(p["optim.lr"]) + 3))
    (note,) = [note for note in said(made) if "range" in note]
    assert note.startswith("model.scale: the best value, 4.9")
    assert "is at the high end of its range (1 to 5)" in note


def test_a_setting_without_effect_is_told_and_one_with_effect_is_not():
    found = [note for note in said(trials(60, lambda p: p["model.scale"])) if "effect" in note]
    assert "model.fusion: no effect was seen at epoch 1 in 60 trials" in found
    assert not [note for note in found if note.startswith("model.scale")]


def test_the_effect_of_a_choice_is_seen():
    made = trials(40, lambda p: float(p["model.fusion"] == "add") + 0.01 * p["optim.lr"])
    assert not [note for note in said(made) if note.startswith("model.fusion")]


def test_a_metric_that_never_changes_is_told():
    made = trials(30, lambda p: p["model.scale"], **{"val/beta": 0.0})
    assert "val/beta: 0 in all 30 trials" in said(made)


def test_few_trials_say_nothing_of_effects():
    made = trials(10, lambda p: -abs(p["model.scale"] - 3), **{"val/beta": 0.0})
    assert not [note for note in said(made) if "effect" in note or "all" in note]

"""The first trials are spread evenly, whatever a space asks for."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from drmn.search.samplers.latin_hypercube import LatinHypercubeSampler
from drmn.search.samplers.unit_cube import from_quantile

PARTS = 8


def drawn(seed, number, again=0):
    study = optuna.create_study(sampler=LatinHypercubeSampler(seed, number, PARTS))
    for _ in range(again):
        space(study.ask())
    return space(study.ask())


def space(trial):
    params = {
        "x": trial.suggest_float("x", -1, 3),
        "rate": trial.suggest_float("rate", 1e-4, 1e0, log=True),
        "kind": trial.suggest_categorical("kind", ["a", "b"]),
        "layers": trial.suggest_int("layers", 1, 4),
    }
    if params["kind"] == "a":  # what only some trials have
        params["heads"] = trial.suggest_int("heads", 1, 64, log=True)
    return params


@pytest.mark.parametrize("begin", [0, PARTS])
def test_of_eight_trials_each_has_its_own_part_of_every_range(begin):
    trials = [drawn(3, number) for number in range(begin, begin + PARTS)]
    assert sorted(int((t["x"] + 1) / 4 * PARTS) for t in trials) == list(range(PARTS))
    scales = [FloatDistribution(1e-4, 1.0, log=True).to_internal_repr(t["rate"]) for t in trials]
    edges = [
        from_quantile(part / PARTS, FloatDistribution(1e-4, 1.0, log=True))
        for part in range(1, PARTS)
    ]
    assert sorted(sum(scale >= edge for edge in edges) for scale in scales) == list(range(PARTS))
    assert sorted(t["kind"] for t in trials) == ["a"] * 4 + ["b"] * 4
    assert sorted(t["layers"] for t in trials) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert [t["x"] for t in trials] != sorted(t["x"] for t in trials)


def test_values_are_plain_ones_as_settings_must_be():
    assert {type(value) for value in drawn(0, 1).values()} <= {float, str, int}


def test_rounds_seeds_and_settings_are_not_alike():
    first, second = ([int((drawn(s, n)["x"] + 1) * 2) for n in range(PARTS)] for s in (0, 1))
    later = [int((drawn(0, PARTS + n)["x"] + 1) * 2) for n in range(PARTS)]
    layers = [2 * (drawn(0, n)["layers"] - 1) for n in range(PARTS)]
    assert len({tuple(each) for each in (first, second, later, layers)}) == 4


def test_a_trial_is_the_same_each_time_and_another_when_it_is_drawn_again():
    assert drawn(0, 5) == drawn(0, 5)
    assert drawn(0, 5, again=1)["x"] != drawn(0, 5)["x"]
    assert int((drawn(0, 5, again=1)["x"] + 1) * 2) == int((drawn(0, 5)["x"] + 1) * 2)


@pytest.mark.parametrize(
    ("distribution", "values"),
    [
        (CategoricalDistribution([True, None, "c"]), [True, None, "c"]),
        (IntDistribution(2, 4), [2, 3, 4]),
        (IntDistribution(0, 64, step=32), [0, 32, 64]),
        (FloatDistribution(0.0, 0.3, step=0.15), [0.0, 0.15, 0.3]),
    ],
    ids=str,
)
def test_each_of_a_few_values_has_the_same_share(distribution, values):
    found = [from_quantile((n + 0.5) / 300, distribution) for n in range(300)]
    assert [found.count(value) for value in values] == [100, 100, 100]


@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(1e-5, 1e-1, log=True),
        FloatDistribution(-2.0, 5.0),
        IntDistribution(1, 100, log=True),
        IntDistribution(3, 3),
    ],
    ids=str,
)
def test_both_ends_are_within_the_range(distribution):
    low, high = from_quantile(0.0, distribution), from_quantile(1 - 2**-53, distribution)
    assert distribution._contains(distribution.to_internal_repr(low))
    assert distribution._contains(distribution.to_internal_repr(high))
    assert low == distribution.low
    assert high == pytest.approx(distribution.high)

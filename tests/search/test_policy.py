"""When a trial is stopped, and what a sampler proposes."""

import optuna
import pytest

from drmn.errors import ConfigError
from drmn.search.policy import Halving, build_sampler
from drmn.search.settings import Budget, PolicyConfig


def test_rungs_are_powers_of_the_factor_from_the_first():
    halving = Halving(first=2, factor=3)
    assert [epoch for epoch in range(1, 60) if halving.is_rung(epoch)] == [2, 6, 18, 54]


def test_a_trial_goes_on_from_a_rung_if_it_is_in_the_top_third_there():
    halving = Halving(first=1, factor=3)
    # Of the first three at most one may be better than a trial that goes on, then of six two.
    values = [0.5, 0.4, 0.6, 0.3, 0.55, 0.7]
    stopped = [halving.stops(trial, 1, value) for trial, value in enumerate(values)]
    assert stopped == [False, True, False, True, True, False]


def test_between_rungs_nothing_is_stopped():
    halving = Halving(first=1, factor=3)
    halving.stops(0, 1, 1.0)
    assert not halving.stops(1, 2, 0.0)


def test_a_rung_that_is_told_twice_of_a_trial_counts_it_once():
    halving = Halving(first=1, factor=3)
    for _ in range(5):
        halving.stops(0, 1, 0.9)
    assert halving.reached[1] == {0: 0.9}


def drawn(config, seed, number):
    study = optuna.create_study(sampler=build_sampler(config, seed, number))
    return study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}).params["x"]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_chance_depends_on_the_seed_and_the_trials_number_alone(sampler):
    config = PolicyConfig(sampler=sampler)
    points = {(seed, number): drawn(config, seed, number) for seed in (0, 1) for number in range(5)}
    assert len(set(points.values())) == 10
    assert all(drawn(config, *key) == value for key, value in points.items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PolicyConfig(factor=1), "policy.factor must be at least 2; got 1."),
        (lambda: Budget(trials=0), "budget.trials must be positive; got 0."),
        (lambda: Budget(minutes=-1.0), "budget.minutes must be 0 or more; got -1.0."),
    ],
)
def test_a_bad_setting_is_refused_by_name(make, message):
    with pytest.raises(ConfigError) as refused:
        make()
    assert str(refused.value) == message

"""What a search will take: measured steps, simulated trials."""

from itertools import islice

import pytest
from test_study import space

from drmn.config import ModelConfig, OptimConfig, RunConfig
from drmn.search.forecast import Sample, forecast, measure, points, quantiles
from drmn.search.settings import Budget, PolicyConfig

RUN = RunConfig(optim=OptimConfig(epochs=9))
HOUR = [Sample(RUN, 3600.0, 2_000_000)]
WHOLE = PolicyConfig(pruner="none")


def test_without_pruning_every_trial_takes_all_of_its_epochs():
    made = forecast(HOUR, WHOLE, Budget(trials=10), at_once=2)
    assert quantiles(made.epochs) == (90, 90, 90)
    assert quantiles(made.complete) == (10, 10, 10)
    assert quantiles(made.worker_hours) == pytest.approx((90, 90, 90))
    assert quantiles(made.hours) == pytest.approx((45, 45, 45))
    assert quantiles(made.megabytes) == (20, 20, 20)


@pytest.mark.parametrize(("limit", "megabytes"), [(7, 7), (1, 2), (50, 20)])
def test_no_more_is_kept_than_may_be_but_for_one_checkpoint(limit, megabytes):
    made = forecast(HOUR, WHOLE, Budget(trials=10, checkpoint_mb=limit), at_once=2)
    assert quantiles(made.megabytes) == (megabytes,) * 3


def test_pruning_saves_most_of_them_and_how_many_is_luck():
    low, middle, high = quantiles(
        forecast(HOUR, PolicyConfig(first_rung=1), Budget(trials=60), at_once=1).epochs
    )
    # Rungs 1 and 3 of 9 epochs: a third passes each, and more of the first few.
    assert 60 + 20 * 2 + 7 * 6 < middle < 270
    assert low < middle < high


def test_a_sampler_that_learns_has_fewer_trials_stopped():
    """24 trials of nine epochs: 132 to 144 in replays of three tables with it, 120 to 129 without.

    Medians of five replays a table with it and eight without (`benchmarks/replay`, 2026-11-27).
    """
    made = {
        sampler: quantiles(
            forecast(HOUR, PolicyConfig(sampler=sampler), Budget(trials=24), at_once=1).epochs
        )[1]
        for sampler in ("curves", "random")
    }
    assert 132 <= made["curves"] <= 144
    assert 117 <= made["random"] <= 129


@pytest.mark.parametrize(
    ("budget", "epochs"),
    [
        (Budget(trials=10, epochs=20), 27),  # the trial that reaches the cap runs to its end
        (Budget(trials=10, worker_hours=10), 18),
        (Budget(trials=10, money=30, price=2), 18),
    ],
)
def test_caps_hold(budget, epochs):
    assert quantiles(forecast(HOUR, WHOLE, budget, at_once=1).epochs) == (epochs,) * 3


def test_cheap_and_dear_settings_make_a_spread():
    made = forecast([*HOUR, Sample(RUN, 60.0, 1)], WHOLE, Budget(trials=8), at_once=1)
    low, middle, high = quantiles(made.worker_hours)
    assert low < middle < high
    assert middle == pytest.approx(8 * 9 * (1 + 1 / 60) / 2, rel=0.3)


def test_the_first_setting_is_the_baseline_and_the_others_are_drawn():
    rates = [run.optim.lr for run in islice(points(space, RunConfig(), 0), 4)]
    assert rates[0] == RunConfig().optim.lr
    assert len(set(rates)) == 4


def test_a_dearer_network_is_measured_to_be_dearer(toy):
    cheap = RunConfig(model=ModelConfig(sit="none", width=8), optim=OptimConfig(batch_size=16))
    dear = RunConfig(model=ModelConfig(sit="joint", width=512), optim=OptimConfig(batch_size=16))
    samples = measure(iter([cheap, dear, cheap]), lambda _: toy, seconds=0.0)
    assert len(samples) == 1  # one at least
    small, large = (measure(iter([c]), lambda _: toy, seconds=0.0)[0] for c in (cheap, dear))
    assert large.epoch > small.epoch > 0
    assert large.bytes > 10 * small.bytes

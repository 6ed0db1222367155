"""What a search will take: measured steps, simulated trials."""

import math
from itertools import islice

import optuna
import pytest
import torch
from studies import finish, open_toy, space
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from drmn.config import ModelConfig, OptimConfig, RunConfig
from drmn.search.budget import step_timing
from drmn.search.budget.forecast import MACHINE, forecast, quantiles
from drmn.search.budget.step_timing import TIMES, Sample, measure, points
from drmn.search.config import Budget, PolicyConfig
from drmn.search.study.ask_tell import AskTellStudy

RUN = RunConfig(optim=OptimConfig(epochs=9))
HOUR = [Sample(RUN, 3600.0, 2_000_000)]
WHOLE = PolicyConfig(pruner="none")


def spread_about(middle):
    """Return P10, P50 and P90 of what a machine alone makes uncertain."""
    part = math.exp(1.2816 * MACHINE)
    return pytest.approx((middle / part, middle, middle * part), rel=0.06)


def test_without_pruning_every_trial_takes_all_of_its_epochs():
    made = forecast(HOUR, WHOLE, Budget(trials=10), at_once=2)
    assert quantiles(made.epochs) == (90, 90, 90)
    assert quantiles(made.complete) == (10, 10, 10)
    assert quantiles(made.worker_hours) == spread_about(90)
    assert quantiles(made.hours) == spread_about(45)
    assert quantiles(made.megabytes) == (20, 20, 20)


@pytest.mark.parametrize(("limit", "megabytes"), [(7, 7), (1, 2), (50, 20)])
def test_no_more_is_kept_than_may_be_but_for_one_checkpoint(limit, megabytes):
    made = forecast(HOUR, WHOLE, Budget(trials=10, checkpoint_mb=limit), at_once=2)
    assert quantiles(made.megabytes) == (megabytes,) * 3


@pytest.mark.long
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
        for sampler in ("curve-gp", "random")
    }
    assert 132 <= made["curve-gp"] <= 144
    assert 117 <= made["random"] <= 129


@pytest.mark.parametrize(
    ("budget", "epochs"),
    [
        (Budget(trials=10, epochs=20), 27),  # the trial that reaches the cap runs to its end
        (Budget(trials=10, worker_hours=13.5), 18),
        (Budget(trials=10, money=27, price=2), 18),
    ],
)
def test_caps_hold(budget, epochs):
    assert quantiles(forecast(HOUR, WHOLE, budget, at_once=1).epochs) == (epochs,) * 3


def test_cheap_and_dear_settings_make_a_spread():
    made = forecast([*HOUR, Sample(RUN, 60.0, 1)], WHOLE, Budget(trials=8), at_once=1)
    low, middle, high = quantiles(made.worker_hours)
    assert low < middle < high
    assert middle == pytest.approx(8 * 9 * (1 + 1 / 60) / 2, rel=0.3)


def test_the_settings_that_are_timed_are_those_that_the_study_begins_with(tmp_path):
    """The baseline and the first ones by chance: their costs are known, not guessed."""
    new = PolicyConfig(startup_trials=4)
    begun = AskTellStudy(optuna.create_study(direction="maximize"), space, RunConfig(), new)
    planned = [run.optim.lr for run in islice(points(begun), 4)]
    assert planned[0] == RunConfig().optim.lr
    study = open_toy(tmp_path, sampler="curve-gp", startup_trials=4)
    assert planned == [finish(study, [0.1, 0.2, 0.3]).settings["optim.lr"] for _ in range(4)]
    assert len(set(planned)) == 4


def test_what_is_timed_ends_where_a_study_waits_for_results(tmp_path):
    assert len(list(points(open_toy(tmp_path, window=3)))) == 3


def test_the_first_trials_cost_what_they_were_timed_at():
    timed = [Sample(RUN, 3600.0 * 10**place, 1) for place in range(4)]
    made = forecast(timed, WHOLE, Budget(trials=4), at_once=1)
    assert quantiles(made.worker_hours) == spread_about(9 * 1111)


def test_each_setting_is_timed_several_times_in_turns_and_the_median_counts(monkeypatch):
    seconds = iter([5.0, 50.0, 7.0, 20.0, 6.0, 30.0])
    monkeypatch.setattr(
        "drmn.search.budget.step_timing._timed", lambda config, *_: Sample(config, next(seconds), 1)
    )
    other = RunConfig(optim=OptimConfig(epochs=3))
    found = measure(iter([RUN, other]), lambda _: None, seconds=60.0)
    assert TIMES == 3
    assert [(each.config.optim.epochs, each.epoch) for each in found] == [(9, 6.0), (3, 30.0)]


class Counted(TorchDispatchMode):
    """A clock that counts the numbers which operators write: the same on every machine."""

    numbers = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        written = operator(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves(written) if isinstance(each, torch.Tensor)]
        self.numbers += sum(each.numel() for each in tensors)
        return written


def counted(work):
    with Counted() as clock:
        work()
    return float(clock.numbers)


@pytest.mark.long
def test_a_dearer_network_is_measured_to_be_dearer(toy, monkeypatch):
    monkeypatch.setattr(step_timing, "_seconds", counted)
    cheap = RunConfig(model=ModelConfig(sit="none", width=8), optim=OptimConfig(batch_size=16))
    dear = RunConfig(model=ModelConfig(sit="joint", width=512), optim=OptimConfig(batch_size=16))
    samples = measure(iter([cheap, dear, cheap]), lambda _: toy, seconds=0.0)
    assert len(samples) == 1  # one at least
    small, large = (measure(iter([c]), lambda _: toy, seconds=0.0)[0] for c in (cheap, dear))
    assert large.epoch > 10 * small.epoch > 0
    assert large.bytes > 10 * small.bytes

"""The process over settings and epochs: what it learns from curves, and what is chosen by it."""

import math

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from drmn.config import RunConfig
from drmn.search.config import PolicyConfig
from drmn.search.samplers.learning_curve_data import BEST_CURVES, MAX_CURVES, data_of, selected
from drmn.search.samplers.learning_curve_gp import (
    CurveData,
    LearningCurveGP,
    expected_improvement,
    mean_curve,
)
from drmn.search.samplers.learning_curve_sampler import KernelCache, LearningCurveSampler
from drmn.search.samplers.single_thread import lean
from drmn.search.samplers.unit_cube import from_unit_points, one_hot, to_unit_point
from drmn.search.storage.studies import open_study
from drmn.search.study.ask_tell import AskTellStudy

SPACE = {
    "rate": FloatDistribution(1e-4, 1e-2, log=True),
    "layers": IntDistribution(1, 5),
    "kind": CategoricalDistribution(["a", "b", "c"]),
    "on": CategoricalDistribution([True, False]),
}


def curves_of(places, epochs=(1, 3, 9), late=0.0):
    """Return data of trials at these places of one setting: best at .6, the later the `late`r."""
    rows = [(i, x, e) for i, x in enumerate(places) for e in epochs]
    return CurveData(
        points=np.array([[x] for _, x, _ in rows]),
        epochs=np.array([float(e) for _, _, e in rows]),
        trials=np.array([i for i, _, _ in rows]),
        values=np.array([0.5 - (x - 0.6) ** 2 + late * x * math.log(e) for _, x, e in rows]),
    )


def test_settings_are_numbers_between_0_and_1_and_words_have_columns():
    params = [
        {"rate": 1e-3, "layers": 2, "kind": "b", "on": True},
        {"rate": 1e-4, "layers": 5, "kind": "a", "on": False},
    ]
    half = 1 / math.sqrt(2)
    assert one_hot(to_unit_point(params, SPACE), SPACE) == pytest.approx(
        np.array([[0.5, 0.25, 0, half, 0, 0], [0, 1, half, 0, 0, 1]])
    )


def test_small_calculations_leave_the_threads_as_they_were():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with lean():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_settings_come_back_from_their_places():
    params = [
        {"rate": 3e-4, "layers": layers, "kind": kind, "on": on}
        for layers in range(1, 6)
        for kind in "abc"
        for on in (True, False)
    ]
    back = [from_unit_points(each, SPACE) for each in to_unit_point(params, SPACE)]
    assert back == [each | {"rate": pytest.approx(3e-4)} for each in params]


def test_a_place_between_two_values_counts_as_the_value_that_lies_there():
    places = np.array([[0.5, 0.3, 0.4, 0.9]])
    there = to_unit_point([from_unit_points(places[0], SPACE)], SPACE)
    assert one_hot(places, SPACE) == pytest.approx(one_hot(there, SPACE))


def test_it_interpolates_what_it_knows_and_doubts_what_is_far():
    known = LearningCurveGP(curves_of([0.0, 0.1, 0.2, 0.3, 0.4]))
    mean, spread = known.predict(np.array([[0.2], [0.25], [1.0]]), 9, np.array([-1, -1, -1]))
    assert mean[:2] == pytest.approx([0.5 - 0.16, 0.5 - 0.35**2], abs=0.01)
    assert spread[2] > 3 * spread[0]


def test_early_epochs_of_others_tell_of_late_ones():
    """A trial of one epoch is foreseen by the curves of trials beside it."""
    data = curves_of(np.linspace(0, 1, 8), late=0.1)
    short = data.epochs < 2
    seen = (data.trials != 4) | short
    part = CurveData(data.points[seen], data.epochs[seen], data.trials[seen], data.values[seen])
    mean, _ = LearningCurveGP(part).predict(data.points[[12]], 9, np.array([4]))
    assert mean == pytest.approx(data.values[14], abs=0.02)


def test_the_mean_curve_is_not_that_of_the_survivors():
    values = {0: {1: 0.1, 3: 0.2, 9: 0.4}, 1: {1: 0.9, 3: 1.0, 9: 1.2}, 2: {1: 0.2}}
    rows = [(t, e, v) for t, curve in values.items() for e, v in curve.items()]
    trials, epochs, seen = (np.array(column) for column in zip(*rows, strict=True))
    data = CurveData(np.zeros((7, 1)), epochs.astype(float), trials, seen)
    assert mean_curve(data) == pytest.approx({1: 0.4, 3: 0.5, 9: 0.7})


def test_expected_improvement_is_that_of_draws():
    mean, spread = np.array([0.4, 0.6]), np.array([0.2, 0.1])
    drawn = np.random.default_rng(0).normal(mean, spread, (200_000, 2))
    found = np.maximum(drawn - 0.5, 0).mean(0)
    assert expected_improvement(mean, spread, 0.5) == pytest.approx(found, rel=0.02)


def test_of_many_trials_the_best_and_the_latest_are_looked_at():
    study = optuna.create_study(direction="maximize")
    for number in range(MAX_CURVES + 50):
        study.add_trial(
            optuna.trial.create_trial(value=0.0, intermediate_values={1: -float(number % 7)})
        )
    trials = study.get_trials()
    seen = [trial.number for trial in selected(trials)]
    assert len(seen) == MAX_CURVES
    assert seen == sorted(seen)
    assert set(range(50 + BEST_CURVES, MAX_CURVES + 50)) <= set(seen)  # the latest
    assert {number for number in range(MAX_CURVES + 50) if number % 7 == 0} <= set(seen)  # the best
    assert 2 not in seen
    assert selected(trials[:MAX_CURVES]) == trials[:MAX_CURVES]


def told(study, params, curve, state=optuna.trial.TrialState.COMPLETE):
    study.add_trial(
        optuna.trial.create_trial(
            state=state,
            value=max(curve) if state == optuna.trial.TrialState.COMPLETE else None,
            params=params,
            distributions=SPACE,
            intermediate_values=dict(enumerate(curve, start=1)),
        )
    )


def test_of_a_curve_the_powers_of_three_and_the_end_are_kept():
    study = optuna.create_study(direction="maximize")
    params = {"rate": 1e-3, "layers": 2, "kind": "b", "on": True}
    told(study, params, [0.1, 0.3, 0.2, 0.5, 0.4], optuna.trial.TrialState.PRUNED)
    told(study, params, [], optuna.trial.TrialState.PRUNED)
    data = data_of(study.get_trials()[:1], SPACE, last=9)
    assert data.epochs.tolist() == [1, 3, 5]
    assert data.values.tolist() == [0.1, 0.3, 0.5]


def test_no_point_is_chosen_twice_as_long_as_there_are_others():
    study = optuna.create_study(direction="maximize")
    grid = {"layers": IntDistribution(1, 3), "on": CategoricalDistribution([True, False])}
    fits, order = KernelCache(), []
    for number in range(12):
        study.sampler = LearningCurveSampler(
            number, optuna.samplers.RandomSampler(number), fits, order
        )
        trial = study.ask(grid)
        order.append(trial.number)
        study.tell(trial, float(trial.params["layers"]))
    points = {tuple(sorted(trial.params.items())) for trial in study.trials}
    assert len(points) == 6


def chosen(*running):
    """Return the layers that are tried after six trials that tell nothing, and others that run."""
    study = optuna.create_study(direction="maximize")
    layers = IntDistribution(1, 40)
    for number in range(6):
        study.add_trial(
            optuna.trial.create_trial(
                value=0.3 + 0.001 * number,
                params={"layers": 3 + 7 * number},
                distributions={"layers": layers},
                intermediate_values={1: 0.2 + 0.001 * number, 3: 0.3 + 0.001 * number},
            )
        )
    for params, curve in running:
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING,
                params={"layers": params},
                distributions={"layers": layers},
                intermediate_values=dict(enumerate(curve, start=1)),
            )
        )
    study.sampler = LearningCurveSampler(
        0, optuna.samplers.RandomSampler(0), KernelCache(), list(range(6))
    )
    return study.ask({"layers": layers}).params["layers"]


def test_it_learns_from_trials_that_still_run():
    assert abs(chosen((13, [0.5, 0.7])) - 13) <= 3
    assert abs(chosen((30, [0.5, 0.7])) - 30) <= 3
    assert chosen((13, [])) == chosen((13, []))
    assert abs(chosen((13, [0.1, 0.1])) - 13) > 3


def space(trial):
    trial.suggest_float("optim.lr", 1e-4, 1e-2, log=True)
    trial.suggest_float("loss.global_branch", 0.1, 10.0, log=True)
    trial.suggest_categorical("model.fusion", ["add", "concat"])
    return {"optim.epochs": 9}


def value(params, epoch):
    """Return a value that is best at a rate of .002 and a weight of 1, with `concat`."""
    far = (math.log10(params["optim.lr"] / 0.002)) ** 2
    far += 0.3 * math.log10(params["loss.global_branch"]) ** 2
    far += 0.1 * (params["model.fusion"] == "add")
    return 0.6 - 0.2 * far - 0.2 / epoch


def best_of(folder, sampler, trials=30):
    folder.mkdir()
    policy = PolicyConfig(sampler=sampler, first_rung=3)
    study = AskTellStudy(open_study(folder, {}), space, RunConfig(), policy)
    for _ in range(trials):
        point = study.ask()
        for epoch in range(1, 10):
            if study.report(point.number, epoch, {"val/H": value(point.params, epoch)}):
                break
    return study.record.best().value


@pytest.mark.long
def test_it_finds_the_best_settings_of_a_space_of_three(tmp_path):
    most = 0.6 - 0.2 / 9
    assert best_of(tmp_path / "curve-gp", "curve-gp") == pytest.approx(most, abs=0.003)
    assert best_of(tmp_path / "random", "random") < most - 0.003

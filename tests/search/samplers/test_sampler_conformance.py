"""What every sampler must do, and every pruner: a row in their tables is held to it."""

import math
from typing import get_args

import pytest
from optuna.trial import TrialState

from drmn.cluster.resources import BackendName
from drmn.config import DatasetName, RunConfig
from drmn.data.specs import SPECS
from drmn.prepare.datasets import READERS
from drmn.search.config import PolicyConfig, Pruner, Sampler
from drmn.search.executors.backends import BACKENDS
from drmn.search.pruners.factory import PRUNERS, make_pruner
from drmn.search.samplers.factory import SAMPLERS
from drmn.search.storage.studies import open_study
from drmn.search.study.ask_tell import AskTellStudy

samplers = pytest.mark.parametrize("sampler", SAMPLERS)
STARTUP = 2


def space(trial):
    """Ask for a parameter that only one branch has."""
    trial.suggest_float("optim.lr", 1e-4, 1e-2, log=True)
    if trial.suggest_categorical("model.sit", ["none", "batch"]) == "batch":
        trial.suggest_int("model.sit_layers", 1, 3)
    return {"optim.epochs": 2}


def opened(folder, sampler, **policy):
    folder.mkdir(exist_ok=True)
    config = PolicyConfig(sampler=sampler, startup_trials=STARTUP, pruner="none", **policy)
    return AskTellStudy(open_study(folder, {}), space, RunConfig(), config)


def worth(params, epoch):
    return 0.5 + 0.01 * epoch - 0.05 * abs(math.log10(params["optim.lr"]) + 3)


def run(study, trials):
    """Run trials to their end, one after another; return their parameters."""
    found = []
    for _ in range(trials):
        point = study.ask()
        for epoch in (1, 2):
            study.report(point.number, epoch, {"val/H": worth(point.params, epoch)})
        found.append(dict(point.params))
    return found


def test_the_tables_hold_what_the_settings_offer():
    assert set(SAMPLERS) == set(get_args(Sampler))
    assert set(PRUNERS) == set(get_args(Pruner))
    assert {"auto", *BACKENDS} == set(get_args(BackendName))
    assert set(SPECS) == set(get_args(DatasetName))
    assert set(READERS) == {spec.layout for spec in SPECS.values()}


@pytest.mark.long
@samplers
def test_a_study_that_is_opened_again_draws_what_it_would_have_drawn(tmp_path, sampler):
    undisturbed = run(opened(tmp_path / "whole", sampler), 6)
    parts = []
    for _ in range(3):  # a driver that dies after every second trial
        parts += run(opened(tmp_path / "parts", sampler), 2)
    assert parts == undisturbed


@pytest.mark.long
@samplers
def test_another_seed_draws_otherwise(tmp_path, sampler):
    drawn = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        policy = PolicyConfig(sampler=sampler, startup_trials=STARTUP, pruner="none")
        made = open_study(tmp_path / str(seed), {})
        drawn.append(run(AskTellStudy(made, space, RunConfig(seed=seed), policy), 4)[1:])
    assert drawn[0] != drawn[1]


@pytest.mark.long
@samplers
def test_a_branch_of_a_space_has_its_own_parameters(tmp_path, sampler):
    for params in run(opened(tmp_path, sampler), 8):
        assert ("model.sit_layers" in params) == (params["model.sit"] == "batch")


@pytest.mark.long
@samplers
def test_trials_that_run_at_a_time_are_not_one_point(tmp_path, sampler):
    study = opened(tmp_path, sampler)
    run(study, 4)
    points = [study.ask().params for _ in range(4)]  # none of them has a result
    assert len({str(sorted(point.items())) for point in points}) == 4


@pytest.mark.long
@samplers
def test_failed_pruned_and_nan_trials_stop_no_sampler(tmp_path, sampler):
    study = opened(tmp_path, sampler)
    run(study, 2)
    study.record.fail(study.ask().number, "out of memory")
    point = study.ask()
    study.report(point.number, 1, {"val/H": 0.4})
    study.record.prune(point.number, "not in the top 1/3 at epoch 1")
    assert study.report(study.ask().number, 1, {"val/H": math.nan})
    run(study, 2)
    states = [trial.state for trial in study.record.trials()]
    assert states.count(TrialState.FAIL) == 2
    assert states.count(TrialState.PRUNED) == 1
    assert study.record.best().state == "COMPLETE"


@samplers
def test_with_a_window_no_later_result_has_a_say(tmp_path, sampler):
    drawn = []
    for early in (True, False):  # whether the second trial ends before the third is chosen
        study = opened(tmp_path / str(early), sampler, window=2)
        first, second = study.ask(), study.ask()
        for point in (first, second) if early else (first,):
            for epoch in (1, 2):
                study.report(point.number, epoch, {"val/H": worth(point.params, epoch)})
        drawn.append(dict(study.ask().params))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("pruner", PRUNERS)
def test_a_pruner_s_rungs_are_rebuilt_from_values_alone(pruner):
    config = PolicyConfig(pruner=pruner, first_rung=1)
    values = [(trial, epoch, 0.1 * (7 * trial % 10)) for epoch in (1, 3) for trial in range(9)]
    whole, again = make_pruner(config), make_pruner(config)
    judged = [whole.should_prune(*value) for value in values]
    for value in values:
        again.note(*value)
    assert [again.should_prune(*value) for value in values[-3:]] == [
        whole.should_prune(*value) for value in values[-3:]
    ]
    assert any(judged) == (pruner != "none")
    assert whole.is_rung(1) == (pruner != "none")


@pytest.mark.parametrize("pruner", PRUNERS)
def test_a_pruner_stops_nobody_who_is_alone(pruner):
    made = make_pruner(PolicyConfig(pruner=pruner, first_rung=1))
    assert not any(made.should_prune(0, epoch, 0.0) for epoch in range(1, 10))

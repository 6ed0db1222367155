"""Two tiers in a search: the best trials are trained again, and nothing else is changed by it."""

import math

import pytest
from optuna.trial import TrialState
from studies import told

from drmn.config import RunConfig
from drmn.errors import ConfigError
from drmn.search.analysis.result import SearchResult
from drmn.search.budget.limits import BudgetTracker
from drmn.search.config import Budget, PolicyConfig
from drmn.search.storage.studies import open_study
from drmn.search.study.ask_tell import AskTellStudy


def space(trial):
    trial.suggest_float("optim.lr", 1e-4, 1e-2, log=True)
    return {"optim.epochs": 3}


def open_toy(folder, **policy):
    study = open_study(folder, {})
    return AskTellStudy(
        study, space, RunConfig(), PolicyConfig(sampler="random", first_rung=1, **policy)
    )


def run(study, point, values, **more):
    for epoch, value in enumerate(values, start=1):
        if study.report(point.number, epoch, told(value, **more)):
            break
    return study.record.trial_summary(point.number)


def search(study, values, **more):
    return [run(study, study.ask(), [value] * 3, **more) for value in values]


def test_the_best_trials_pruned_or_not_are_trained_again_with_their_settings(tmp_path):
    study = open_toy(tmp_path, finetune=2)
    search(study, [0.5, 0.3, 0.7, 0.6])  # the second and the last are stopped at a rung
    assert [row.state for row in study.record.trial_summaries()] == [
        "COMPLETE",
        "PRUNED",
        "COMPLETE",
        "PRUNED",
    ]
    again = [study.ask_finetune(), study.ask_finetune()]
    assert [study.record.trial_summary(point.number).again for point in again] == [2, 3]
    for point in again:
        first = study.record.spec(study.record.trial_summary(point.number).again)
        assert point.config.tier == "finetuned"
        assert (point.params, point.config.optim) == (first.params, first.config.optim)
    assert study.ask_finetune() is None


def test_none_is_trained_again_while_another_runs_nor_without_the_setting(tmp_path):
    study = open_toy(tmp_path, finetune=1)
    search(study, [0.5])
    running = study.ask()
    assert study.ask_finetune() is None
    study.record.fail(running.number, "gone")
    assert study.ask_finetune() is not None
    (tmp_path / "plain").mkdir()
    plain = open_toy(tmp_path / "plain")
    search(plain, [0.5])
    assert plain.ask_finetune() is None


def test_a_second_tier_is_not_stopped_and_teaches_the_first_nothing(tmp_path):
    study = open_toy(tmp_path, finetune=1)
    search(study, [0.5, 0.6])
    row = run(study, study.ask_finetune(), [0.1, 0.2, 0.3])
    assert (row.state, row.value) == ("COMPLETE", 0.3)
    assert study.record.best().number == 1
    for each in (study, open_toy(tmp_path, finetune=1)):
        assert all(row.number not in rung for rung in each.searcher.pruner.reached.values())
    point = study.ask()  # the search goes on when its budget is raised
    assert point.number == 3
    assert 2 not in study.searcher.sampler_study.places
    again = open_toy(tmp_path, finetune=1)
    assert again.ask().params == point.params


def test_a_second_tier_that_was_running_goes_on_in_its_tier(tmp_path):
    study = open_toy(tmp_path, finetune=1)
    search(study, [0.5])
    lost = study.ask_finetune()
    again = open_toy(tmp_path, finetune=1)
    assert again.ask() == lost
    assert again.ask_finetune() is None


def test_trials_of_the_second_tier_are_not_counted_but_what_they_cost_is(tmp_path):
    study = open_toy(tmp_path, finetune=1)
    search(study, [0.5], cost=3600.0)
    run(study, study.ask_finetune(), [0.6] * 3, cost=3600.0)
    assert not BudgetTracker(Budget(trials=2), 0).exhausted(study.record.trial_summaries())
    assert "took 6.00 hours" in BudgetTracker(Budget(trials=2, worker_hours=5), 0).exhausted(
        study.record.trial_summaries()
    )
    assert "took 6.00 hours" in BudgetTracker(Budget(worker_hours=5), 0).over_limit(
        study.record.trial_summaries()
    )
    assert not BudgetTracker(Budget(trials=1), 0).over_limit(study.record.trial_summaries())


def outcome(study, **more):
    return SearchResult(
        study="toy",
        data="d",
        best=study.record.best(),
        baselines={},
        rows=study.record.trial_summaries(),
        **more,
    )


@pytest.mark.long
def test_how_the_tiers_agree_is_told(tmp_path):
    study = open_toy(tmp_path, finetune=3, pruner="none")
    search(study, [0.5, 0.6, 0.7])
    assert outcome(study).tiers is None
    for value in (0.8, 0.9, 0.7):  # of those that had .7, .6 and .5
        run(study, study.ask_finetune(), [value] * 3)
    tiers = outcome(study).tiers
    assert (tiers.trials, tiers.rank_correlation) == (3, pytest.approx(0.5))
    assert tiers.gain == pytest.approx(0.2)
    assert str(tiers) == (
        "with the backbone trained along 3 of the best trials gained +20.0 points on average, "
        "ranked alike to 0.50"
    )


def test_of_two_objectives_those_that_none_beats_in_both_are_told(tmp_path):
    study = open_toy(tmp_path, pruner="none", second_objective="val/S")
    for value, seen in ((0.5, 0.5), (0.6, 0.4), (0.4, 0.4), (0.3, 0.9)):
        run(study, study.ask(), [value] * 3, seen=seen)
    failed = study.ask()
    study.report(failed.number, 1, told(math.nan))
    made = outcome(study, second_objective="val/S")
    assert [row.number for row in made.pareto_front] == [0, 1, 3]
    assert outcome(study).pareto_front == []
    assert study.record.trial(failed.number).state == TrialState.FAIL


def test_a_cheap_trial_is_not_beaten_by_a_dear_one(tmp_path):
    study = open_toy(tmp_path, pruner="none", second_objective="cost/worker_seconds")
    for value, cost in ((0.5, 1.0), (0.6, 9.0), (0.5, 2.0)):
        run(study, study.ask(), [value] * 3, cost=cost)
    made = outcome(study, second_objective="cost/worker_seconds")
    assert [row.number for row in made.pareto_front] == [0, 1]


def test_settings_that_exclude_each_other_are_refused():
    with pytest.raises(ConfigError, match=r"policy\.pruner must be none where policy\.second"):
        PolicyConfig(second_objective="val/S")
    with pytest.raises(ConfigError, match=r"policy\.second_objective must be another than"):
        PolicyConfig(second_objective="val/H", pruner="none")

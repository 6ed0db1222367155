"""A study that learns from another one, and one that begins with another's best settings."""

import json

import pytest
from studies import finish, metrics, open_toy, space

from drmn.config import RunConfig
from drmn.errors import ConfigError, StudyError
from drmn.search.config import PolicyConfig
from drmn.search.storage.studies import open_study
from drmn.search.study import warm_start as heritage
from drmn.search.study.ask_tell import AskTellStudy


@pytest.fixture
def studies(tmp_path):
    """Return the folder of a study `toy` of four trials, the third of them the best."""
    (tmp_path / "toy").mkdir()
    study = open_toy(tmp_path / "toy", pruner="none")
    for value in (0.5, 0.4, 0.7, 0.6):
        finish(study, [value] * 3)
    return tmp_path


def child(studies, space=space, *, fork="", warm_start="", **policy):
    (studies / "child").mkdir(exist_ok=True)
    study = open_study(studies / "child", {"data": "other"})
    heritage.inherit(study, studies, fork=fork, warm_start=warm_start)
    return AskTellStudy(study, space, RunConfig(), PolicyConfig(pruner="none", **policy))


def test_a_fork_learns_from_its_parents_trials_and_none_of_them_can_win(studies):
    study = child(studies, fork="toy")
    assert [trial.value for trial in study.searcher.inherited] == [0.5, 0.4, 0.7, 0.6]
    assert study.record.trial_summaries() == []
    assert study.record.best() is None
    finish(study, [0.1] * 3)
    assert study.record.best().value == 0.1


@pytest.mark.long
def test_a_fork_chooses_otherwise_than_a_study_that_knows_nothing(studies):
    (studies / "alone").mkdir()
    drawn = []
    for study in (
        child(studies, fork="toy", sampler="tpe", startup_trials=4),
        open_toy(studies / "alone", sampler="tpe", startup_trials=4),
    ):
        finish(study, [0.5] * 3)
        drawn.append(study.ask().params)
    assert drawn[0] != drawn[1]


def test_a_fork_goes_on_when_its_parent_is_gone(studies):
    finish(child(studies, fork="toy"), [0.5] * 3)
    (studies / "toy" / "record.db").unlink()
    assert len(child(studies, fork="toy").searcher.inherited) == 4


def test_trials_that_are_no_points_of_the_new_space_are_left_out(studies):
    def narrow(trial):
        trial.suggest_float("optim.lr", 1e-4, 1.2e-3, log=True)
        return {"optim.epochs": 3}

    rows = open_toy(studies / "toy", pruner="none").record.trial_summaries()
    inside = [row.params for row in rows if row.params["optim.lr"] <= 1.2e-3]
    assert 0 < len(inside) < len(rows)
    study = child(studies, narrow, fork="toy")
    assert [trial.params for trial in study.searcher.inherited] == inside


@pytest.mark.long
def test_a_warm_start_tries_the_best_settings_of_another_study_after_the_baseline(studies):
    ranked = sorted(
        open_toy(studies / "toy", pruner="none").record.trial_summaries(),
        key=lambda row: -row.value,
    )
    study = child(studies, warm_start="toy")
    tried = [finish(study, [0.5] * 3).params for _ in range(4)]
    assert tried[0] == {"optim.lr": RunConfig().optim.lr}
    others = [row.params for row in ranked if row.params != tried[0]]
    assert tried[1:] == others[:3]
    assert study.searcher.inherited == []


@pytest.mark.parametrize(
    "content",
    [
        [{"optim.lr": 0.004, "no.such": 1}],
        {"trials": [{"state": "COMPLETE", "value": 0.5, "params": {"optim.lr": 0.004}}]},
    ],
)
def test_a_warm_start_takes_a_file(studies, content):
    file = studies / "best.json"
    file.write_text(json.dumps(content))
    study = child(studies, warm_start=str(file))
    assert study.searcher.first == [{"optim.lr": RunConfig().optim.lr}, {"optim.lr": 0.004}]


def test_what_is_not_there_is_told(studies):
    with pytest.raises(StudyError, match=r"There is no study 'sun' in .*; there are: child, toy"):
        child(studies, fork="sun")
    (studies / "bad.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"--warm-start .*bad\.json: KeyError: 'trials'; give"):
        child(studies, warm_start=str(studies / "bad.json"))


def test_a_study_that_has_trials_took_over_what_it_takes_over(studies):
    finish(child(studies), [0.5] * 3)
    assert child(studies, fork="toy").searcher.inherited == []


def test_what_was_inherited_is_a_failed_trials_lesson_too(studies):
    study = open_toy(studies / "toy", pruner="none")
    point = study.ask()
    study.report(point.number, 1, metrics(float("nan")))
    states = [trial.state.name for trial in child(studies, fork="toy").searcher.inherited]
    assert states == ["COMPLETE"] * 4 + ["FAIL"]

"""Settings of a search's command line: they win over the space, in every trial."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import FixedTrial
from studies import metrics, space

from drmn.config import OptimConfig, RunConfig
from drmn.search.study.ask_tell import AskTellStudy
from drmn.search.study.given_settings import decided, overruled, with_given
from drmn.search.study.plan import StudyPlan
from drmn.search.study.replay import replay
from drmn.space import ask, baseline, load

FILE = """
def space(trial):
    trial.suggest_float("optim.lr", 1e-4, 1e-2, log=True)
    trial.suggest_int("optim.warmup", 0, 3, step=1)
    both = [trial.suggest_categorical(name, [True, False]) for name in ("model.dab", "optim.views")]
    if all(both) and trial.suggest_categorical("model.sit", ["none", "attr"]) != "none":
        trial.suggest_float("model.sit_dropout", 0.1, 0.7)
    return {"optim.epochs": 3, "model.width": 16}
"""


@pytest.fixture
def plan(tmp_path):
    """Return a function from given settings to the plan of a search."""
    (tmp_path / "toy.py").write_text(FILE)

    def made(lr=0.001, epochs=10, seed=0, given=()):
        base = RunConfig(optim=OptimConfig(lr=lr, epochs=epochs), seed=seed)
        values = {"optim.lr": lr, "optim.epochs": epochs, "seed": seed}
        return StudyPlan(
            dataset="toy",
            space=str(tmp_path / "toy.py"),
            base=base,
            folder=tmp_path / "studies" / "toy",
            tracking_uri="sqlite:///mlflow.db",
            given={name: values[name] for name in given},
        )

    return made


def test_all_that_a_space_decides_is_found_on_rare_branches_too(plan):
    assert decided(plan().search_space) == {
        **dict.fromkeys(
            (
                *("optim.lr", "optim.warmup", "model.dab", "optim.views"),
                *("model.sit", "model.sit_dropout"),
            ),
            "searches it",
        ),
        "optim.epochs": "fixes 3",
        "model.width": "fixes 16",
    }


def test_a_given_setting_is_neither_asked_nor_overwritten_and_is_told():
    given = {"optim.lr": 0.5, "optim.epochs": 4, "seed": 7}
    trial = FixedTrial({})
    assert ask(with_given(space, given), trial) == given
    assert trial.params == {}
    assert baseline(with_given(space, given), RunConfig()) == {}
    assert overruled(space, given) == {
        "optim.lr": "--optim.lr 0.5 holds in every trial: the space searches it, the command line "
        "wins",
        "optim.epochs": "--optim.epochs 4 holds in every trial: the space fixes 3, the command "
        "line wins",
    }


def test_trials_have_the_given_settings_and_a_replay_chooses_them_again(plan):
    asked = plan(lr=0.5, epochs=2, given=("optim.lr", "optim.epochs"))
    record = optuna.create_study(direction="maximize")
    record.set_user_attr("identity", asked.identity(Path("store")))
    study = AskTellStudy(record, asked.search_space, asked.base, asked.policy)
    for _ in range(3):
        point = study.ask()
        config = point.config
        assert (config.optim.lr, config.optim.epochs, config.model.width) == (0.5, 2, 16)
        assert point.params.keys() & {"optim.lr", "optim.epochs"} == set()
        assert study.report(point.number, 1, metrics(0.5)) is False
        assert study.report(point.number, 2, metrics(0.5)) is True
    bare = load(plan().space)  # a replay reads what was given from the record
    assert replay(record, bare) == [(0, True), (1, True), (2, True)]


def test_an_identity_has_a_given_setting_even_where_it_is_the_default(plan):
    left, given = (plan(given=names).identity(Path("store")) for names in ((), ("optim.lr",)))
    assert {key: given[key] for key in given.keys() - left.keys()} == {"given.optim.lr": 0.001}


def test_a_given_setting_that_the_space_leaves_alone_is_in_an_identity_once(plan):
    assert plan(given=("seed",)).identity(Path("store")) == plan().identity(Path("store"))

"""A study's choices come out again from its record, and a changed record is seen."""

import json

import optuna
import pytest

from drmn.config import RunConfig
from drmn.fields import flatten
from drmn.search.config import PolicyConfig
from drmn.search.storage.studies import open_study
from drmn.search.study.ask_tell import AskTellStudy
from drmn.search.study.replay import replay

TRIALS = 12


def space(trial):
    trial.suggest_float("optim.lr", 1e-4, 1e-2, log=True)
    trial.suggest_categorical("model.fusion", ["add", "concat"])
    return {"optim.epochs": 3}


def searched(folder, at_once=1, **settings):
    """Return a study after twelve trials, so many at a time; the later ones have epochs first."""
    policy = PolicyConfig(startup_trials=3, **settings)
    identity = {**flatten(policy, "policy."), **flatten(RunConfig(), "base.")}
    record = AskTellStudy(open_study(folder, identity), space, RunConfig(), policy)
    running = {}
    while record.record.count < TRIALS or running:
        while len(running) < at_once and record.record.count < TRIALS:
            point = record.ask()
            running[point.number] = (point, 1)
        number = max(running, key=lambda n: (-running[n][1], n))
        point, epoch = running.pop(number)
        value = 0.5 - abs(point.params["optim.lr"] - 0.002) * 10 - 0.1 / epoch
        told = {"val/H": float("nan") if number == 5 else value}
        if not record.report(number, epoch, told):
            running[number] = (point, epoch + 1)
    return open_study(folder, identity)


@pytest.mark.long
@pytest.mark.parametrize(
    "settings", [{"sampler": sampler} for sampler in ("curve-gp", "tpe", "gp", "random")]
)
@pytest.mark.parametrize("at_once", [1, 3])
def test_every_trial_comes_out_again(tmp_path, settings, at_once):
    found = replay(searched(tmp_path, at_once, **settings), space)
    assert found == [(number, True) for number in range(TRIALS)]


@pytest.mark.long
def test_a_trial_that_the_policy_did_not_choose_is_seen(tmp_path):
    study = searched(tmp_path)
    path = f"sqlite:///{tmp_path}/record.db"
    del study
    storage = optuna.storages.RDBStorage(path)
    with storage.engine.begin() as connection:
        query = (
            "UPDATE trial_params SET param_value = 0.0042 WHERE param_name = 'optim.lr' AND"
            " trial_id = (SELECT trial_id FROM trials WHERE number = 8)"
        )
        connection.exec_driver_sql(query)
    study = optuna.load_study(study_name=tmp_path.name, storage=path)
    assert json.loads(json.dumps(replay(study, space)))[8] == [8, False]

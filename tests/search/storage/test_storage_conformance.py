"""What every storage must do: a row in the table is held to it."""

import math
from contextlib import contextmanager
from pathlib import Path

import pytest
from studies import IDENTITY, finish, metrics

from drmn.config import RunConfig
from drmn.errors import StudyError
from drmn.experiment.lock import lock_folder
from drmn.search.config import PolicyConfig
from drmn.search.storage.factory import STORAGES, make_storage
from drmn.search.storage.studies import (
    driver_of,
    load_study,
    open_study,
    read_study,
    study_names,
)
from drmn.search.study.ask_tell import AskTellStudy
from drmn.search.trial_summary import epochs, summarize_all


@pytest.fixture(params=STORAGES, ids=lambda scheme: scheme or "sqlite")
def url(request):
    """Return the URL of an empty storage of each kind."""
    return request.getfixturevalue("postgres").database() if request.param else ""


def space(trial):
    """Ask for a parameter that only one branch has."""
    trial.suggest_float("optim.lr", 1e-4, 1e-2, log=True)
    if trial.suggest_categorical("model.sit", ["none", "batch"]) == "batch":
        trial.suggest_int("model.sit_layers", 1, 3)
    return {"optim.epochs": 3}


@contextmanager
def opened(folder, url, sampler="tpe"):
    """Open a study as a driver does."""
    policy = PolicyConfig(sampler=sampler, pruner="none", startup_trials=2)
    storage = make_storage(url)
    with lock_folder(folder, folder.name), storage.lock(folder):
        yield AskTellStudy(open_study(folder, IDENTITY, storage), space, RunConfig(), policy)


def searched(folder, url):
    """Come to a trial of each state; the last two run."""
    with opened(folder, url) as study:
        finish(study, [0.3, 0.5, 0.4])
        study.record.prune(study.ask().number, "not in the top 1/3 at epoch 1")
        study.record.fail(study.ask().number, "ValueError: out of memory")
        assert study.report(study.ask().number, 1, metrics(math.nan))
        first, second = study.ask(), study.ask()
        assert first.params != second.params  # neither has a result
        study.report(first.number, 1, metrics(0.2), {"epoch": 1, "sha256": "ab", "bytes": 7})
        study.report(second.number, 1, metrics(0.6))
    return [first.number, second.number]


def test_a_study_is_resumed_as_it_was(tmp_path, url):
    running = searched(tmp_path / "toy", url)
    with opened(tmp_path / "toy", url) as study:
        assert study.record.interrupted == running
        rows = study.record.trial_summaries()
        assert [row.state for row in rows] == [
            *("COMPLETE", "PRUNED", "FAIL", "FAIL", "RUNNING", "RUNNING")
        ]
        assert rows[0].value == 0.5
        assert [row.cause for row in rows[1:4]] == [
            "not in the top 1/3 at epoch 1",
            "ValueError: out of memory",
            "val/H is nan in epoch 1",
        ]
        assert rows[4].checkpoint == {"epoch": 1, "sha256": "ab", "bytes": 7}
        assert epochs(study.record.trial(0)) == {
            1: metrics(0.3),
            2: metrics(0.5),
            3: metrics(0.4),
        }
        again = [study.ask() for _ in running]
        assert [point.number for point in again] == running
        assert [point.params for point in again] == [rows[number].params for number in running]
        for point in again:
            sit = point.config.model.sit
            assert ("model.sit_layers" in point.params) == (sit == "batch")


@pytest.mark.parametrize("sampler", ["tpe", "curve-gp"])
def test_a_study_draws_the_same_wherever_it_lives(tmp_path, url, sampler):
    drawn = []
    for place in (url, ""):
        folder = tmp_path / ("there" if place else "here") / "toy"
        for _ in range(2):  # opened twice
            with opened(folder, place, sampler) as study:
                for value in (0.3, 0.5):
                    finish(study, [value] * 3)
        drawn.append(
            [trial.params for trial in summarize_all(load_study(folder.parent, "toy", place))]
        )
        if not url:
            break
    assert len(drawn[0]) == 4
    assert all(each == drawn[0] for each in drawn)


def test_a_look_finds_what_a_driver_has(tmp_path, url):
    searched(tmp_path / "toy", url)
    with opened(tmp_path / "toy", url) as study:
        assert repr(summarize_all(read_study(tmp_path, "toy", url))) == repr(
            study.record.trial_summaries()
        )


def test_other_settings_are_refused_once_a_trial_has_reported(tmp_path, url):
    folder, changed = tmp_path / "toy", IDENTITY | {"base.optim.lr": 0.1}
    storage = make_storage(url)
    with lock_folder(folder, "toy"), storage.lock(folder):
        open_study(folder, changed, storage)  # nothing was found out yet
    searched(folder, url)
    with (
        lock_folder(folder, "toy"),
        storage.lock(folder),
        pytest.raises(StudyError, match=r"--optim\.lr was 0\.001, now 0\.1"),
    ):
        open_study(folder, changed, storage)
    for look in (load_study, read_study):
        assert len(look(tmp_path, "toy", url).trials) == 6


def test_a_driver_is_named_and_a_second_one_refused(tmp_path, url):
    folder = tmp_path / "toy"
    with opened(folder, url):
        who = driver_of(folder, url)
        assert who.startswith("process ")
        with (
            pytest.raises(StudyError, match=r"Study toy .*is being run by process \d+"),
            opened(folder, url),
        ):
            pass
    assert driver_of(folder, url) == ""


def test_a_study_and_a_run_of_one_name_are_two(tmp_path, url):
    searched(tmp_path / "studies" / "toy", url)
    with opened(tmp_path / "runs" / "toy", url) as study:
        assert study.record.count == 0
    for kind, count in (("studies", 6), ("runs", 0)):
        assert study_names(tmp_path / kind, url) == ["toy"]
        assert len(load_study(tmp_path / kind, "toy", url).trials) == count
    with pytest.raises(StudyError, match=r"There is no run 'sun' in .*; there are: toy"):
        load_study(tmp_path / "runs", "sun", url)


def test_no_storage_has_studies_before_there_are_any(tmp_path, url):
    assert study_names(tmp_path, url) == []
    with pytest.raises(StudyError, match="there are: none"):
        load_study(Path(tmp_path), "toy", url)
    with pytest.raises(StudyError, match="there are: none"):
        read_study(Path(tmp_path), "toy", url)

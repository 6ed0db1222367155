"""The record: what it holds, how a trial ends, how a study goes on."""

import math
import subprocess
import sys

import numpy as np
import pytest
from studies import IDENTITY, finish, metrics, open_toy, space

from drmn.config import RunConfig
from drmn.errors import ConfigError, StudyError
from drmn.experiment.lock import lock_folder
from drmn.fields import flatten, with_overrides
from drmn.search.config import PolicyConfig
from drmn.search.storage.studies import open_study
from drmn.search.study.ask_tell import MOST_INVALID, AskTellStudy
from drmn.search.trial_summary import HUNG, MEMORY, MOVED


def small(trial):
    trial.suggest_categorical("optim.lr", [0.001])
    return {"optim.epochs": 1}


def test_the_first_trial_is_the_baseline(tmp_path):
    point = open_toy(tmp_path).ask()
    assert point.params == {"optim.lr": RunConfig().optim.lr}
    assert point.config.optim.epochs == 3


def test_a_trial_is_worth_its_best_epoch(tmp_path):
    row = finish(open_toy(tmp_path), [0.3, 0.5, 0.4])
    assert (row.state, row.epochs, row.value, row.best_epoch) == ("COMPLETE", 3, 0.5, 2)
    assert row.metrics == metrics(0.5)


def test_a_pruned_trial_keeps_its_curve_and_cannot_win(tmp_path):
    study = open_toy(tmp_path)
    finish(study, [0.4, 0.4, 0.4])
    row = finish(study, [0.3, 0.9, 0.9])  # stopped at epoch 1: never gets to its 0.9
    assert (row.state, row.epochs, row.value) == ("PRUNED", 1, 0.3)
    assert row.cause == "not in the top 1/3 at epoch 1"
    assert study.record.best().number == 0


def test_a_value_that_is_no_number_fails_the_trial_and_never_wins(tmp_path):
    study = open_toy(tmp_path, pruner="none")
    row = finish(study, [0.9, math.nan])
    assert (row.state, row.epochs, row.cause) == ("FAIL", 1, "val/H is nan in epoch 2")
    assert study.record.best() is None


def test_an_infinite_loss_fails_the_trial_too(tmp_path):
    study = open_toy(tmp_path)
    point = study.ask()
    assert study.report(point.number, 1, {"val/H": 0.5, "loss/total": math.inf})
    assert study.record.trial_summary(point.number).cause == "loss/total is inf in epoch 1"


def test_what_is_reopened_is_what_was_written(tmp_path):
    study = open_toy(tmp_path)
    rows = [finish(study, [0.1 * k] * 3) for k in (4, 3, 5)]
    assert open_toy(tmp_path).record.trial_summaries() == rows


def test_trials_share_the_names_and_values_of_settings_that_they_have_in_common(tmp_path):
    study = open_toy(tmp_path)
    for _ in range(2):
        finish(study, [0.3, 0.5, 0.4])
    one, two = (trial.user_attrs["settings"] for trial in study.record.trials())
    names = [{id(name) for name in each} for each in (one, two)]
    assert names[0] == names[1]
    same = [name for name, value in one.items() if type(value) is float and two[name] == value]
    assert same
    assert all(one[name] is two[name] for name in same if name in flatten(study.base))
    assert one["optim.lr"] != two["optim.lr"]


def test_a_reopened_study_hands_out_what_was_running_first(tmp_path):
    study = open_toy(tmp_path)
    finish(study, [0.5] * 3)
    lost = study.ask()
    study.report(lost.number, 1, metrics(0.6))
    again = open_toy(tmp_path)
    point = again.ask()
    assert (point.number, point.config, point.params) == (lost.number, lost.config, lost.params)
    assert again.ask().number == 2


def test_an_epoch_told_twice_counts_once(tmp_path):
    study = open_toy(tmp_path)
    point = study.ask()
    for _ in range(2):
        study.report(point.number, 1, metrics(0.6))
    study.report(point.number, 2, metrics(0.7))
    study.report(point.number, 3, metrics(0.5))
    row = study.record.trial_summary(point.number)
    assert (row.epochs, row.value) == (3, 0.7)


@pytest.mark.long
@pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "curve-gp"])
def test_a_reopened_study_draws_what_it_would_have_drawn(tmp_path, sampler):
    def points(name, reopen):
        (tmp_path / name).mkdir()
        study = open_toy(tmp_path / name, sampler=sampler, startup_trials=2, pruner="none")
        for k in range(6):
            if k in reopen:
                study = open_toy(tmp_path / name, sampler=sampler, startup_trials=2, pruner="none")
            finish(study, [0.1 * k] * 3)
        return [row.params for row in study.record.trial_summaries()]

    assert points("straight", ()) == points("reopened", (1, 4))


def worth(params, epoch):
    """Return what an epoch of a trial comes to: the best rate is 0.001."""
    return 0.8 - 0.1 * abs(math.log10(params["optim.lr"]) + 3) - 0.1 / epoch


def run_at_once(study, at_once, order, trials):
    """Run trials as a cluster would: so many at a time, whichever `order` picks has an epoch."""
    running, chance = {}, np.random.default_rng(order)
    while study.record.count < trials or running:
        while len(running) < at_once and study.record.count < trials:
            point = study.ask()
            if point is None:
                assert running, "everybody waits"
                break
            running[point.number] = (point, 1)
        number = int(chance.choice(list(running)))
        point, epoch = running.pop(number)
        if not study.report(number, epoch, metrics(worth(point.params, epoch))):
            running[number] = (point, epoch + 1)
    return [
        (row.number, row.state, row.epochs, row.params) for row in study.record.trial_summaries()
    ]


@pytest.mark.long
@pytest.mark.parametrize("sampler", ["tpe", pytest.param("gp", marks=pytest.mark.slow), "curve-gp"])
def test_with_a_window_a_search_comes_out_the_same_whatever_runs_at_once(tmp_path, sampler):
    outcomes = []
    for at_once, order in ((1, 0), (4, 1), (4, 2), (9, 3)):
        folder = tmp_path / f"{at_once}-{order}"
        folder.mkdir()
        study = open_toy(folder, sampler=sampler, startup_trials=3, window=4)
        outcomes.append(run_at_once(study, at_once, order, trials=14))
    assert {state for _, state, _, _ in outcomes[0]} == {"COMPLETE", "PRUNED"}
    assert all(outcome == outcomes[0] for outcome in outcomes)


@pytest.mark.long
def test_without_a_window_it_does_not_which_is_why_there_is_one(tmp_path):
    outcomes = []
    for order in (1, 2):
        (tmp_path / str(order)).mkdir()
        study = open_toy(tmp_path / str(order), sampler="tpe", startup_trials=3)
        outcomes.append(run_at_once(study, 4, order, trials=14))
    assert outcomes[0] != outcomes[1]


def test_rungs_are_rebuilt_from_the_record(tmp_path):
    study = open_toy(tmp_path)
    for value in (0.5, 0.6, 0.7):
        finish(study, [value] * 3)
    assert open_toy(tmp_path).searcher.pruner == study.searcher.pruner
    assert finish(open_toy(tmp_path), [0.65]).state == "PRUNED"


def test_a_point_tried_before_is_repeated_with_another_seed(tmp_path):
    study = open_toy(tmp_path, small)
    seeds = [study.ask().config.seed for _ in range(3)]
    assert seeds == [0, 1, 2]


def test_a_trial_runs_again_after_as_many_losses_as_are_allowed(tmp_path):
    study = open_toy(tmp_path)
    point = study.ask()
    for _ in range(study.record.max_failures):
        assert study.record.requeue(point.number)
        assert study.ask().number == point.number
    assert not study.record.requeue(point.number)
    assert study.ask().number == 1
    study.record.forgive(point.number)
    assert study.record.requeue(point.number)


@pytest.mark.long
def test_a_resumed_trial_takes_what_may_change_from_the_new_start(tmp_path):
    open_toy(tmp_path).ask()
    spared = with_overrides(RunConfig(), {"compute.checkpointing": True, "optim.lr": 0.5})
    opened = open_study(tmp_path, IDENTITY)
    resumed = AskTellStudy(opened, space, spared, PolicyConfig(sampler="random")).ask().config
    assert resumed.compute.checkpointing
    assert resumed.optim.lr < 0.5


def test_a_trial_whose_machine_went_is_handed_out_again_however_often(tmp_path):
    study = open_toy(tmp_path)
    point = study.ask()
    for _ in range(5):
        assert study.record.requeue(point.number, MOVED)
        assert study.ask().number == point.number
    assert study.record.requeue(point.number)  # none of these counts as a process of its own
    assert study.record.trial(point.number).user_attrs["moved"] == 5


def test_a_trial_that_hangs_runs_again_once(tmp_path):
    study = open_toy(tmp_path)
    point = study.ask()
    assert study.record.requeue(point.number, HUNG)
    assert study.ask().number == point.number
    assert not study.record.requeue(point.number, HUNG)


def test_a_trial_out_of_memory_runs_again_once_with_half_the_images_at_a_time(tmp_path):
    study = open_toy(tmp_path)
    point = study.ask()
    batch = point.config.optim.batch_size
    assert study.record.requeue_smaller(point.number, workers=2) == batch // 4
    again = study.ask()
    assert again.number == point.number
    assert again.config.compute.micro_batch == batch // 4
    assert again.config.optim == point.config.optim
    assert study.record.trial_summary(0).settings["compute.micro_batch"] == batch // 4
    assert study.record.requeue_smaller(point.number, workers=2) == 0
    assert study.record.trial(0).user_attrs[MEMORY] == 2
    assert study.ask().number == 1


@pytest.mark.parametrize(("micro", "half"), [(512, 16), (8, 4)])
def test_what_is_halved_is_what_a_worker_has_taken(tmp_path, micro, half):
    fixed = {"optim.batch_size": 32, "compute.micro_batch": micro}
    study = open_toy(tmp_path, lambda _: fixed)
    assert study.record.requeue_smaller(study.ask().number, workers=1) == half
    assert study.record.trial_summary(0).started_with["compute.micro_batch"] == micro


def test_a_run_that_is_started_again_may_lose_its_process_as_often_as_a_new_one(tmp_path):
    study = open_toy(tmp_path)
    number = study.ask().number
    for loss in (HUNG, MEMORY):
        while study.record.requeue(number, loss):
            pass
    study.record.forgive(number)
    assert study.record.requeue(number, HUNG)
    assert study.record.requeue(number, MEMORY)


def test_what_a_trial_was_started_with_stays_known_when_it_is_halved_twice(tmp_path):
    study = open_toy(tmp_path, lambda _: {"optim.batch_size": 32})
    number = study.ask().number
    assert study.record.requeue_smaller(number, workers=1) == 16
    study.record.forgive(number)
    assert study.record.requeue_smaller(number, workers=1) == 8
    assert study.record.trial_summary(number).started_with["compute.micro_batch"] == 0


def test_images_are_not_halved_below_what_batch_statistics_need(tmp_path):
    study = open_toy(tmp_path, lambda _: {"optim.batch_size": 3})
    point = study.ask()
    assert study.record.requeue_smaller(point.number, workers=1) == 0
    assert MEMORY not in study.record.trial(0).user_attrs


def test_a_rung_that_was_passed_is_passed_when_its_epoch_is_told_again(tmp_path):
    study = open_toy(tmp_path)
    first, second, third = (study.ask().number for _ in range(3))
    assert not study.report(first, 1, metrics(0.5))
    assert not study.report(second, 1, metrics(0.6))
    assert not study.report(third, 1, metrics(0.7))
    assert not study.report(first, 1, metrics(0.5))  # by now it would be the last of three


def test_a_driver_that_dies_before_a_trial_is_written_down_asks_the_same_again(
    tmp_path, monkeypatch
):
    (tmp_path / "whole").mkdir()
    (tmp_path / "died").mkdir()
    whole = open_toy(tmp_path / "whole")
    points = [whole.ask().params for _ in range(3)]
    died = open_toy(tmp_path / "died")
    died.ask()
    with monkeypatch.context() as patch:
        patch.setattr(died.record.study, "add_trial", lambda _: sys.exit(9))
        with pytest.raises(SystemExit):
            died.ask()
    again = open_toy(tmp_path / "died")
    assert [again.ask().params for _ in range(3)] == points


def test_a_space_that_raises_is_named_and_the_study_goes_on_when_it_is_mended(tmp_path):
    def broken(trial):
        if trial.suggest_float("optim.lr", 1e-4, 1e-2, log=True) != RunConfig().optim.lr:
            raise ZeroDivisionError("oh")
        return {"optim.epochs": 3}

    study = open_toy(tmp_path, broken)
    finish(study, [0.5] * 3)
    with pytest.raises(ConfigError, match="The space raised ZeroDivisionError: oh"):
        study.ask()
    again = open_toy(tmp_path)
    assert finish(again, [0.6] * 3).value == 0.6
    assert [row.number for row in again.record.trial_summaries()] == [0, 1 + MOST_INVALID]


def test_a_point_that_is_no_valid_run_fails_its_trial_and_not_the_search(tmp_path):
    points = []

    def broken_once(trial):
        points.append(trial.suggest_float("optim.lr", 1e-4, 1e-2, log=True))
        return {"optim.epochs": 0 if len(points) == 3 else 3}  # the baseline is asked for first

    study = open_toy(tmp_path, broken_once)
    finish(study, [0.5] * 3)
    assert finish(study, [0.6] * 3).number == 2
    failed = study.record.trial(1)
    assert failed.state.name == "FAIL"
    assert "optim.epochs must be positive; got 0." in failed.user_attrs["cause"]


def test_before_anything_was_found_out_settings_may_change(tmp_path):
    open_toy(tmp_path).ask()
    study = open_study(tmp_path, IDENTITY | {"base.optim.lr": 0.1})
    assert study.user_attrs["identity"]["base.optim.lr"] == 0.1
    assert study.trials == []


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "record.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StudyError, match=r"record\.db: not a readable record"):
        open_study(tmp_path, IDENTITY)


def test_changed_settings_are_refused_with_the_difference(tmp_path):
    finish(open_toy(tmp_path), [0.5] * 3)
    with pytest.raises(StudyError) as refused:
        open_study(tmp_path, IDENTITY | {"base.optim.lr": 0.1})
    assert "--optim.lr was 0.001, now 0.1" in str(refused.value)
    assert "--study NAME" in str(refused.value)


HOLDER = """
import sys, time
from pathlib import Path
from drmn.experiment.lock import lock_folder
with lock_folder(Path(sys.argv[1]), "toy"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_driver_is_told_who_holds_the_study(tmp_path):
    command = [sys.executable, "-c", HOLDER, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(StudyError, match=f"run by process {holder.pid};"),
            lock_folder(tmp_path, "toy"),
        ):
            pass
        holder.kill()
    with lock_folder(tmp_path, "toy"):  # the system let go when the holder died
        pass


def test_a_point_tried_before_is_drawn_again_as_long_as_there_are_others(tmp_path):
    def grid(trial):
        trial.suggest_categorical("optim.lr", [0.001, 0.002, 0.003, 0.004])
        return {"optim.epochs": 1}

    study = open_toy(tmp_path, grid)
    points = [study.ask() for _ in range(5)]
    assert {point.params["optim.lr"] for point in points[:4]} == {0.001, 0.002, 0.003, 0.004}
    assert [point.config.seed for point in points] == [0, 0, 0, 0, 1]

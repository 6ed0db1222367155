"""Checkpoints of a study: which are kept if not all may be, and that they are the trials' own."""

import io
import re
import shutil

import pytest
import torch
from rich.console import Console
from studies import metrics, open_toy

from drmn.errors import DataError
from drmn.experiment.trial_checkpoints import (
    CheckpointWriter,
    StaleWriterError,
    drop_last,
    trial_folder,
)
from drmn.search.analysis.pack_trials import best_state
from drmn.search.callbacks.checkpoint_quota import CheckpointQuota
from drmn.training.checkpoint import BEST, LAST, load

KB = 30
"""Of a checkpoint, about."""


def trial(study, folder, values, weights=KB * 250):
    """Run a trial that writes real files, through the quota; return its row."""
    point = study.ask()
    keeper, best = CheckpointWriter(trial_folder(folder, point.number)), 0.0
    for epoch, value in enumerate(values, start=1):
        model = {"w": torch.full((weights,), value)}
        state = {"model": model, "metrics": metrics(value), "number": epoch}
        if value > best:
            best, kept = value, keeper.best(state)
        if study.report(point.number, epoch, metrics(value), kept):
            break
    return study.record.trial_summary(point.number)


def quota(study, folder, kilobytes):
    return CheckpointQuota(
        study.record, folder, kilobytes / 1000, Console(file=io.StringIO(), width=200)
    )


def files(folder):
    return sorted(int(path.parent.name) for path in folder.glob(f"trials/*/{BEST}"))


def search(folder, values, kilobytes):
    """Run a trial for each value; return the record and the quota."""
    study = open_toy(folder, pruner="none")
    keeper = quota(study, folder, kilobytes)
    for value in values:
        keeper.on_trial_end(trial(study, folder, [value] * 3))
    return study, keeper


def test_a_trial_holds_epoch_digest_and_bytes_of_its_best(tmp_path):
    row = trial(open_toy(tmp_path, pruner="none"), tmp_path, [0.3, 0.5, 0.4])
    path = trial_folder(tmp_path, 0) / BEST
    assert row.checkpoint == {
        "epoch": 2,
        "sha256": path.read_bytes()[:32].hex(),
        "bytes": path.stat().st_size,
    }
    assert open_toy(tmp_path, pruner="none").record.trial_summary(0) == row


@pytest.mark.long
def test_the_best_trials_are_kept_in_whatever_order_they_end(tmp_path):
    for name, values in {"up": (0.1, 0.2, 0.3, 0.4), "down": (0.4, 0.3, 0.2, 0.1)}.items():
        folder = tmp_path / name
        folder.mkdir()
        study, _ = search(folder, values, kilobytes=2.5 * KB)
        best = sorted(range(4), key=lambda number: values[number])[2:]
        assert files(folder) == sorted(best)
        assert [row.dropped for row in study.record.trial_summaries()] == [
            n not in best for n in range(4)
        ]


def test_without_a_limit_all_are_kept(tmp_path):
    study, _ = search(tmp_path, (0.1, 0.4, 0.2), kilobytes=0)
    assert files(tmp_path) == [0, 1, 2]
    assert not any(row.dropped for row in study.record.trial_summaries())


def test_a_trial_that_was_pruned_yields_to_one_that_may_win(tmp_path):
    study = open_toy(tmp_path)
    keeper = quota(study, tmp_path, 1.5 * KB)
    for values in ([0.4, 0.4, 0.5], [0.3, 0.9]):
        keeper.on_trial_end(trial(study, tmp_path, values))
    assert [row.state for row in study.record.trial_summaries()] == ["COMPLETE", "PRUNED"]
    assert files(tmp_path) == [0]


def test_the_best_is_kept_though_it_is_larger_than_the_limit_and_that_is_told_once(tmp_path):
    study, keeper = search(tmp_path, (0.1, 0.4, 0.2), kilobytes=1)
    assert files(tmp_path) == [study.record.best().number] == [1]
    told = keeper.console.file.getvalue()
    assert told.count("note: the best checkpoint, of trial ") == 1
    assert "more than --budget.checkpoint-mb 0.001; it is kept.\n" in told


@pytest.mark.long
def test_a_trial_on_its_way_keeps_what_it_has(tmp_path):
    study, keeper = search(tmp_path, (0.4, 0.3), kilobytes=1)
    point = study.ask()
    state = {"model": {}, "metrics": metrics(0.1), "number": 1}
    kept = CheckpointWriter(trial_folder(tmp_path, point.number)).best(state)
    study.report(point.number, 1, metrics(0.1), kept)
    keeper.enforce()
    assert files(tmp_path) == [0, point.number]


def test_it_holds_over_restarts_and_may_be_made_smaller(tmp_path):
    search(tmp_path, (0.1, 0.4, 0.2, 0.3), kilobytes=3.5 * KB)
    assert files(tmp_path) == [1, 2, 3]
    again = open_toy(tmp_path, pruner="none")
    assert [row.number for row in again.record.trial_summaries() if row.dropped] == [0]
    quota(again, tmp_path, 2.5 * KB)
    assert files(tmp_path) == [1, 3]
    assert open_toy(tmp_path, pruner="none").record.dropped == {0, 2}


def test_what_a_driver_had_noted_before_it_died_is_dropped_by_the_next(tmp_path):
    study, _ = search(tmp_path, (0.1, 0.4), kilobytes=0)
    study.record.drop([0])
    assert files(tmp_path) == [0, 1]
    quota(open_toy(tmp_path, pruner="none"), tmp_path, 0)
    assert files(tmp_path) == [1]


def test_the_checkpoint_of_another_trial_is_not_packed(tmp_path):
    study, _ = search(tmp_path, (0.1, 0.4), kilobytes=0)
    path = trial_folder(tmp_path, 1) / BEST
    shutil.copy(trial_folder(tmp_path, 0) / BEST, path)
    assert load(path) is not None  # valid in itself
    assert best_state(tmp_path, study.record.trial_summary(0))["metrics"] == metrics(0.1)
    sentence = f"{path}: not the checkpoint that trial 1 wrote at epoch 1, by its SHA-256"
    with pytest.raises(DataError, match=re.escape(sentence)) as refused:
        best_state(tmp_path, study.record.best())
    assert f"jobs/train.py --from {tmp_path.name}/1 " in str(refused.value)


def test_a_damaged_or_missing_best_checkpoint_is_told_with_the_way_to_have_it_again(tmp_path):
    study, _ = search(tmp_path, (0.4,), kilobytes=0)
    path = trial_folder(tmp_path, 0) / BEST
    path.write_bytes(path.read_bytes()[:-1])
    for _ in range(2):  # damaged, and then put aside
        with pytest.raises(DataError, match=r"gone or damaged; put a copy back, or python jobs"):
            best_state(tmp_path, study.record.best())


def test_a_best_epoch_that_was_not_written_to_its_end_is_written_again(tmp_path):
    def state(number, **kept):
        model = {"w": torch.full((9,), float(number))}
        return {"model": model, "metrics": metrics(0.1 * number), "number": number, "kept": kept}

    keeper = CheckpointWriter(tmp_path)
    first = keeper.best(state(1))
    # It died after epoch 2, the best now, was saved to go on from, and before the best's own file.
    keeper.last(state(2, epoch=2))
    keeper = CheckpointWriter(tmp_path)
    kept = keeper.known_best(load(tmp_path / LAST))
    assert kept["epoch"] == 2
    assert load(tmp_path / BEST)["model"]["w"][0] == 2
    assert (tmp_path / BEST).read_bytes()[:32].hex() == kept["sha256"] != first["sha256"]
    assert keeper.known_best(state(3, **kept)) == kept  # epoch 3 was no better
    # Of a part of epoch 3 the weights are not those of epoch 2.
    assert keeper.known_best(state(2, **kept) | {"part": {}, "model": {}}) == kept
    assert load(tmp_path / BEST)["model"]["w"][0] == 2


def test_a_process_that_was_given_up_writes_no_more(tmp_path):
    state = {"model": {}, "metrics": metrics(0.1), "number": 1}
    cut_off = CheckpointWriter(tmp_path)
    cut_off.last(state)
    (tmp_path / "best.tmp").write_bytes(b"it was writing")
    now = CheckpointWriter(tmp_path)
    assert not (tmp_path / "best.tmp").exists()
    now.last(state | {"number": 2})
    for write in (cut_off.last, cut_off.best):
        with pytest.raises(StaleWriterError, match="another process has gone on"):
            write(state)
    assert load(tmp_path / LAST)["number"] == 2
    drop_last(tmp_path)  # the trial is over
    with pytest.raises(StaleWriterError):
        now.last(state)

"""A run's epochs on the disk."""

import time

from drmn.metric_names import AT
from drmn.run.epoch_log import History


def timeless(history):
    """Return the epochs without the times at which they were written down."""
    found = history.epochs()
    assert all(time.time() - 60 < metrics[AT] <= time.time() for metrics in found.values())
    return {n: {k: v for k, v in metrics.items() if k != AT} for n, metrics in found.items()}


def test_epochs_come_back_in_their_order(tmp_path):
    history = History(tmp_path / "history.jsonl")
    assert history.epochs() == {}
    history.add(2, {"val/H": 0.5})
    history.add(1, {"val/H": 0.25})
    assert list(timeless(history).items()) == [(1, {"val/H": 0.25}), (2, {"val/H": 0.5})]


def test_an_epoch_that_was_trained_again_counts_as_it_was_last(tmp_path):
    history = History(tmp_path / "history.jsonl")
    history.add(1, {"val/H": 0.25})
    history.add(1, {"val/H": 0.5})
    assert timeless(history) == {1: {"val/H": 0.5}}


def test_a_line_that_was_cut_off_costs_itself_alone(tmp_path):
    history = History(tmp_path / "history.jsonl")
    history.add(1, {"val/H": 0.25})
    history.add(2, {"val/H": 0.5})
    whole = history.path.read_bytes()
    history.path.write_bytes(whole[:-7])  # killed while it wrote the second
    assert list(history.epochs()) == [1]
    history.add(2, {"val/H": 0.5})
    assert list(history.epochs()) == [1, 2]

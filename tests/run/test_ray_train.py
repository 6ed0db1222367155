"""What is left of a run whose checkpoints were damaged."""

import logging
import re

import pytest
import ray.train

from drmn.errors import StudyError
from drmn.run.ray_train import best_of
from drmn.training.checkpoint import LAST, save


@pytest.fixture
def kept(tmp_path):
    """Return checkpoints of three epochs, the second the best and the third the next."""
    made = []
    for number, harmonic in ((1, 20.0), (2, 40.0), (3, 30.0)):
        folder = tmp_path / str(number)
        folder.mkdir()
        save(folder / LAST, {"number": number})
        made.append((ray.train.Checkpoint.from_directory(str(folder)), {"val/H": harmonic}))
    return made


def damage(kept, *numbers):
    for number in numbers:
        with kept[number - 1][0].as_directory() as folder:
            file = f"{folder}/{LAST}"
        with open(file, "r+b") as content:  # noqa: PTH123
            content.truncate(50)


def test_the_best_epoch_is_what_a_run_ends_with(tmp_path, kept, caplog):
    assert best_of(tmp_path, kept)["number"] == 2
    assert caplog.records == []


def test_a_damaged_best_checkpoint_is_passed_over_for_the_next_best(tmp_path, kept, caplog):
    damage(kept, 2)
    with caplog.at_level(logging.WARNING):
        assert best_of(tmp_path, kept)["number"] == 3
    assert (
        "the best epoch's checkpoint is damaged; epoch 3 is the best that is whole" in caplog.text
    )


def test_a_run_without_a_whole_checkpoint_says_what_to_do(tmp_path, kept):
    damage(kept, 1, 2, 3)
    words = f"{tmp_path}: no checkpoint of it is whole; remove the folder to train it anew."
    with pytest.raises(StudyError, match=re.escape(words)):
        best_of(tmp_path, kept)

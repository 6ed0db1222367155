"""Checkpoints: whole, or not taken."""

import pytest
import torch

from drmn.experiment.trial_checkpoints import drop_last, trial_folder
from drmn.training.checkpoint import BEST, LAST, load, save

STATE = {"model": {"w": torch.arange(1000.0)}, "optimizer": {"step": 7}, "number": 3}


def test_what_is_saved_is_loaded(tmp_path):
    save(tmp_path / LAST, STATE)
    again = load(tmp_path / LAST)
    assert torch.equal(again["model"]["w"], STATE["model"]["w"])
    assert (again["optimizer"], again["number"]) == ({"step": 7}, 3)
    assert [file.name for file in tmp_path.iterdir()] == [LAST]


def test_there_may_be_none(tmp_path):
    assert load(tmp_path / LAST) is None


@pytest.mark.parametrize("place", [0.0, 0.01, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_a_damaged_checkpoint_is_never_loaded_and_kept_aside(tmp_path, place, damage):
    path = tmp_path / LAST
    save(path, STATE)
    content = bytearray(path.read_bytes())
    at = int(place * len(content))
    if damage == "truncated":
        del content[at:]
    else:
        content[at] ^= 1
    path.write_bytes(content)
    assert load(path) is None
    assert [file.name for file in tmp_path.iterdir()] == ["last.damaged"]


def test_a_trial_that_is_over_keeps_its_best_epoch_alone(tmp_path):
    folder = trial_folder(tmp_path, 7)
    folder.mkdir(parents=True)
    for name in (LAST, BEST):
        save(folder / name, STATE)
    drop_last(folder)
    assert [str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*.pt")] == ["trials/0007/best.pt"]

"""Stored features are standardised by the moments of the training images, exactly."""

from itertools import islice

import pytest
import torch
from toys import toy_catalogue, toy_key, write_store

from drmn.config import ModelConfig, OptimConfig, RunConfig
from drmn.data.splits import development
from drmn.errors import DataError
from drmn.fields import with_overrides
from drmn.training import standardization
from drmn.training.loop import assemble, fit
from drmn.training.standardization import moments_of

CONFIG = RunConfig(model=ModelConfig(sit="none", fusion="concat"), optim=OptimConfig(epochs=2))


def test_the_moments_are_those_of_all_training_images(toy):
    maps = toy.train.maps(toy.train.rows)
    for stride, (mean, variance) in moments_of(toy.train, (16, 32)).items():
        rows = maps[stride].flatten(0, 1)
        torch.testing.assert_close(mean, rows.mean(dim=0))
        torch.testing.assert_close(variance, rows.var(dim=0, correction=0))


def test_the_moments_do_not_depend_on_how_many_images_are_read_at_a_time(toy, monkeypatch):
    whole = moments_of(toy.train, (32,))
    monkeypatch.setattr(standardization, "CHUNK", 7)
    for one, other in zip(whole[32], moments_of(toy.train, (32,))[32], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_only_training_images_may_be_used(toy):
    with pytest.raises(DataError, match="standardising features takes train images alone"):
        moments_of(toy.val_seen, (32,))


def test_training_changes_no_moment(toy):
    start = assemble(CONFIG, toy).state_dict()
    *_, end = fit(CONFIG, toy)
    names = [name for name in start if "standard" in name and "running" in name]
    assert len(names) == 4
    for name in names:
        assert torch.equal(end.state["model"][name], start[name])


def test_a_micro_batch_changes_nothing_but_rounding(toy):
    """Without SIT and self-calibration, whose terms are of a batch, pieces of a batch add up."""
    plain = with_overrides(CONFIG, {"loss.self_calibration": 0.0, "compute.precision": "fp32"})
    pieces = with_overrides(plain, {"compute.micro_batch": 4})
    whole, cut = (next(fit(config, toy)).metrics for config in (plain, pieces))
    for name in ("loss/total", "train/grad_norm"):
        assert cut[name] == pytest.approx(whole[name], rel=1e-4)


def test_the_first_epoch_is_judged_by_what_it_was_trained_on(toy):
    """Training and evaluation give one image the same scores: no running average lags behind."""
    network = assemble(CONFIG, toy)
    maps = toy.train.batch(torch.arange(5)).inputs
    trained = network.train()(maps).attributes
    torch.testing.assert_close(network.eval()(maps).attributes, trained)


def test_levels_of_finer_grids_have_the_moments_of_the_last_level_s_grid(tmp_path):
    catalogue = toy_catalogue()
    fine = torch.randn(len(catalogue.images), 16, 3)
    maps = {16: fine, 32: torch.randn(len(catalogue.images), 4, 3)}
    key = toy_key(catalogue, maps="full")
    data = development.open_store(write_store(tmp_path, key, catalogue, maps))
    mean, variance = moments_of(data.train, (16, 32))[16]
    rows = fine[data.train.rows].bfloat16().float()
    square = rows.unflatten(1, (2, 2, 2, 2)).mean(dim=(2, 4)).flatten(0, 2)
    torch.testing.assert_close(mean, square.mean(dim=0), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(variance, square.var(dim=0, correction=0), rtol=1e-3, atol=1e-5)


def test_resuming_needs_no_moments_from_the_checkpoint(toy):
    straight = [epoch.metrics for epoch in fit(CONFIG, toy)]
    *_, half = islice(fit(CONFIG, toy), 1)
    assert [epoch.metrics for epoch in fit(CONFIG, toy, resume=half.state)] == straight[1:]

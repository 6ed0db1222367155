"""Chance depends on the seed and the epoch, and on nothing else."""

import torch

from drmn.data.splits.epoch_rng import EpochRng


def test_an_epoch_has_one_order_whatever_was_drawn_before():
    torch.manual_seed(1)
    once = EpochRng(3, 5).order(30)
    torch.manual_seed(2)
    assert torch.equal(EpochRng(3, 5).order(30), once)
    assert sorted(once.tolist()) == list(range(30))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [EpochRng(*which).order(30).tolist() for which in ((0, 1), (0, 2), (1, 1), (1, 2))]
    assert len(set(map(tuple, orders))) == 4


def test_every_view_is_drawn_and_the_plain_one_is_0():
    drawn = torch.stack([EpochRng(0, epoch).views(20, 3) for epoch in range(20)])
    assert set(drawn.flatten().tolist()) == {0, 1, 2, 3}
    assert not EpochRng(0, 1).views(20, 0).any()


def test_dropout_is_drawn_from_the_epoch_too():
    EpochRng(1, 2).begin()
    once = torch.rand(3)
    torch.rand(7)
    EpochRng(1, 2).begin()
    assert torch.equal(torch.rand(3), once)

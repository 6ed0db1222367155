"""Chance depends on the seed and the epoch, and on nothing else."""

import torch

from drmn.data.splits.epoch_rng import EpochRng

LABELS = torch.zeros(30, dtype=torch.long)


def test_an_epoch_has_one_order_whatever_was_drawn_before():
    torch.manual_seed(1)
    once = EpochRng(3, 5).order(LABELS)
    torch.manual_seed(2)
    assert torch.equal(EpochRng(3, 5).order(LABELS), once)
    assert sorted(once.tolist()) == list(range(30))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [EpochRng(*which).order(LABELS).tolist() for which in ((0, 1), (0, 2), (1, 1), (1, 2))]
    assert len(set(map(tuple, orders))) == 4


def test_a_balanced_epoch_draws_each_class_equally_often():
    labels = torch.tensor([0] * 900 + [1] * 100)
    drawn = labels[EpochRng(0, 1).order(labels, "balanced")]
    assert len(drawn) == 1000
    # 500 each, give or take sqrt(1000 / 4) = 16.
    assert abs(int(drawn.sum()) - 500) < 64
    assert torch.equal(labels[EpochRng(0, 1).order(labels, "balanced")], drawn)


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

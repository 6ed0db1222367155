"""Batches, micro-batches and learning rates."""

from math import cos, pi

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drmn.config import OptimConfig
from drmn.training.optimizer import lr_factor, micro_batches


def positions(made):
    return [piece.images.tolist() for piece in made]


@given(st.integers(1, 40), st.integers(2, 12), st.sampled_from([0, 2, 3, 5]))
def test_batches_hold_every_image_once(images, size, micro):
    made = micro_batches(torch.arange(images), size, micro)
    assert [i for part in positions(made) for i in part] == list(range(images))
    assert all(len(part) >= 2 for part in positions(made) if images > 1)


def test_a_last_batch_of_one_image_joins_the_one_before():
    assert positions(micro_batches(torch.arange(9), 4)) == [[0, 1, 2, 3], [4, 5, 6, 7, 8]]
    assert positions(micro_batches(torch.arange(10), 4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert positions(micro_batches(torch.arange(1), 4)) == [[0]]


def test_micro_batches_make_up_a_batch_and_the_last_one_steps():
    made = micro_batches(torch.arange(9), 5, 2)
    # 5 images as 2 and 3, since one alone joins; then 4 as 2 and 2.
    assert positions(made) == [[0, 1], [2, 3, 4], [5, 6], [7, 8]]
    assert [piece.share for piece in made] == pytest.approx([2 / 5, 3 / 5, 1 / 2, 1 / 2])
    assert [piece.last for piece in made] == [False, True, False, True]


def test_a_constant_rate_stays():
    assert [lr_factor(OptimConfig(epochs=3), epoch, 0.5) for epoch in (1, 2, 3)] == [1] * 3


def test_a_cosine_rate_falls_from_all_to_nearly_nothing():
    # (1 + cos x) / 2 at x = 0, pi/4, pi/2, 3 pi/4.
    config = OptimConfig(epochs=4, schedule="cosine")
    expected = [(1 + cos(pi * done / 4)) / 2 for done in range(4)]
    assert [lr_factor(config, e, 0.0) for e in (1, 2, 3, 4)] == pytest.approx(expected)


def test_a_warm_up_rises_from_nothing_step_by_step_and_ends():
    config = OptimConfig(epochs=4, warmup=2)
    steps = [lr_factor(config, epoch, within) for epoch in (1, 2, 3) for within in (0, 0.5)]
    assert steps == pytest.approx([0, 1 / 4, 2 / 4, 3 / 4, 1, 1])

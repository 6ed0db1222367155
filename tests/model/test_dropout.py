"""Dropout by bytes."""

import pytest
import torch

from drmn.model.dropout import Dropout


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7])
def test_the_share_is_dropped_and_the_mean_is_kept(share):
    torch.manual_seed(0)
    made = Dropout(share).train()(torch.ones(1000, 333))
    # The share is rounded to a 256th; 333,000 draws have a deviation of less than 0.001.
    dropped = round(share * 256) / 256
    assert float((made == 0).float().mean()) == pytest.approx(dropped, abs=0.004)
    assert made[made != 0].unique().tolist() == pytest.approx([1 / (1 - dropped)])
    assert float(made.mean()) == pytest.approx(1, abs=0.01)


def test_neighbours_are_dropped_independently():
    """Eight of them come from one drawn number."""
    torch.manual_seed(0)
    kept = (Dropout(0.5).train()(torch.ones(100_000, 8)) != 0).float()
    alike = (kept.T @ kept) / len(kept)  # 1/2 on the diagonal, 1/4 elsewhere
    torch.testing.assert_close(alike, 0.25 + 0.25 * torch.eye(8), atol=0.01, rtol=0)


def test_the_gradient_goes_where_the_values_went():
    torch.manual_seed(0)
    values = torch.ones(50, requires_grad=True)
    made = Dropout(0.5).train()(values)
    made.sum().backward()
    assert torch.equal(values.grad, made.detach())


def test_there_is_none_in_evaluation_or_without_a_share():
    values = torch.randn(9)
    assert Dropout(0.5).eval()(values) is values
    assert Dropout(0.0).train()(values) is values

"""The workers that train one network together: one, unless torch.distributed is initialised.

A batch is always the whole batch of all workers; each takes a share of its images. Values of the
others' images that a loss or a normalisation needs are gathered with their gradient, so that
several workers compute what one would.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx

_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


def world() -> int:
    """Return how many workers there are."""
    if _ALONE.get() or not (dist.is_available() and dist.is_initialized()):
        return 1
    return dist.get_world_size()


def rank() -> int:
    """Return the number of this worker, from 0."""
    return dist.get_rank() if world() > 1 else 0


@contextmanager
def alone() -> Iterator[None]:
    """Let this worker count as the only one in a `with` block: collectives do nothing there."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def share(positions: Tensor) -> Tensor:
    """Return this worker's part of some positions: in order, none left out or repeated."""
    return positions.tensor_split(world())[rank()]


def collect(part: Any) -> list[Any]:
    """Return the parts of all workers, in their order; on every worker."""
    if world() == 1:
        return [part]
    parts: list[Any] = [None] * world()
    dist.all_gather_object(parts, part)
    return parts


def total(values: Tensor) -> Tensor:
    """Return the sum over workers; its gradient goes back to each."""
    if world() == 1:
        return values
    summed: Tensor = _Sum.apply(values)
    return summed


def gather(own: Tensor) -> Tensor:
    """Return the rows of all workers, for each to compute its own part of a result from.

    A row's gradient is the sum over all workers.
    """
    if world() == 1:
        return own
    rows: Tensor = _Gather.apply(own, True)  # noqa: FBT003
    return rows


def join(own: Tensor) -> Tensor:
    """Return the rows of all workers, for each to compute the same result from.

    A row's gradient is that of the worker that owns it: the result counts once, not once per
    worker.
    """
    if world() == 1:
        return own
    rows: Tensor = _Gather.apply(own, False)  # noqa: FBT003
    return rows


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        del ctx
        out = values.clone()
        dist.all_reduce(out)
        return out

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> Tensor:
        del ctx
        out = grads[0].contiguous().clone()
        dist.all_reduce(out)
        return out


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, summed: bool) -> Tensor:  # noqa: FBT001
        sizes = _sizes(own)
        ctx.sizes, ctx.summed = sizes, summed
        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad = grads[0].contiguous()
        if ctx.summed:
            grad = grad.clone()
            dist.all_reduce(grad)
        return grad.split(ctx.sizes)[rank()], None


def _sizes(own: Tensor) -> list[int]:
    """Return how many rows each worker has: batches do not divide evenly."""
    mine = torch.tensor([len(own)], device=own.device)
    sizes = [torch.empty_like(mine) for _ in range(world())]
    dist.all_gather(sizes, mine)
    return [int(size) for size in sizes]

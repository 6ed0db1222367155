"""Batches, learning rates and the optimizer."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from drmn import distributed
from drmn.compiler import defer_compiler
from drmn.config import OptimConfig, RunConfig
from drmn.model.finetuned import FinetunedNetwork, Network


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Images that go through the network at once: a batch, or a micro-batch of it."""

    images: Int[Tensor, " image"]
    """Positions of the images of all workers."""
    share: float
    """Share of its batch."""
    last: bool
    """Whether it completes its batch: a step follows."""


def micro_batches(order: Int[Tensor, " image"], size: int, micro: int = 0) -> list[MicroBatch]:
    """Cut the order in which images are seen into batches, and those into micro-batches.

    A last one of a single image joins the one before it: batch statistics need two.

    Args:
        order: Positions of images.
        size: Size of a batch, all workers together.
        micro: Size of a worker's micro-batch; 0 for its whole share.
    """
    cut = []
    for batch in _cut(order, size):
        parts = _cut(batch, micro * distributed.world()) if micro else [batch]
        cut += [
            MicroBatch(part, len(part) / len(batch), last=i == len(parts))
            for i, part in enumerate(parts, start=1)
        ]
    return cut


def after_steps(todo: list[MicroBatch], steps: int) -> list[MicroBatch]:
    """Return what is left of an epoch after so many steps.

    Not after so many micro-batches: a trial that ran out of memory resumes with smaller ones.
    """
    ends = [i for i, piece in enumerate(todo, start=1) if piece.last]
    return todo[ends[steps - 1] :] if steps else todo


def _cut(order: Tensor, size: int) -> list[Tensor]:
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def optimizer_of(config: RunConfig, network: Network) -> torch.optim.Optimizer:
    """Return an optimizer with a group of weights for the head, and one for a backbone."""
    defer_compiler()
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optim.name]
    parts: dict[str, tuple[nn.Module, float]] = {"head": (network, config.optim.lr)}
    if isinstance(network, FinetunedNetwork):
        parts = {
            "head": (network.head, config.optim.lr),
            "backbone": (network.backbone, config.finetune.lr),
        }
    groups: list[dict[str, Any]] = [
        {"name": name, "params": part.parameters(), "lr": rate, "initial_lr": rate}
        for name, (part, rate) in parts.items()
    ]
    return kind(groups, weight_decay=config.optim.weight_decay)


def moving_average(network: Network, decay: float) -> AveragedModel | None:
    """Return an exponential moving average of the weights, or None where `decay` is 0.

    In its first steps the decay is smaller, so that what the weights started from is forgotten.
    """
    if not decay:
        return None

    def mixed(average: Tensor, weight: Tensor, steps: Tensor | int) -> Tensor:
        return average.lerp(weight, 1 - min(decay, float((1 + steps) / (10 + steps))))

    return AveragedModel(network, avg_fn=mixed)


def set_learning_rates(
    config: RunConfig, optimizer: torch.optim.Optimizer, epoch: int, steps: int
) -> Iterator[None]:
    """Set the learning rates before each of the steps of an epoch."""
    for step in range(steps):
        factor = lr_factor(config.optim, epoch, step / steps)
        for group in optimizer.param_groups:
            group["lr"] = factor * group["initial_lr"]
        yield


def lr_factor(config: OptimConfig, epoch: int, within: float) -> float:
    """Return the factor of a learning rate, from 0 to 1.

    The schedule moves from epoch to epoch; the warm-up within each.

    Args:
        config: The schedule.
        epoch: Counted from 1.
        within: Share of the epoch's steps that are done.
    """
    risen = 1.0
    if epoch - 1 < config.warmup:
        risen = min(1.0, (epoch - 1 + within) / config.warmup)
    if config.schedule == "constant":
        return risen
    return risen * (1 + math.cos(math.pi * (epoch - 1) / config.epochs)) / 2

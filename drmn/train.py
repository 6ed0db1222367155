"""The training loop, as a stream of epochs.

`fit` reports nothing and saves nothing. It yields after each epoch, and whoever asked decides what
an epoch is for: a job prints it, a trial tells Ray, a test looks at it. To stop early, stop asking.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from drmn.checkpoint import State
from drmn.config import OptimConfig, RunConfig
from drmn.data.development import Classes, Development
from drmn.losses import total
from drmn.model.network import DRMN
from drmn.validate import validate


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to."""

    number: int
    """Epochs finished, this one included."""
    metrics: dict[str, float]
    state: State
    """All that `fit` needs to go on from here. Live: save it before asking for the next epoch."""


def build(config: RunConfig, classes: Classes, channels: Mapping[int, int]) -> DRMN:
    """Return an untrained network; which one depends on the seed alone."""
    torch.manual_seed(config.seed)
    return DRMN(
        config.model,
        channels,
        attributes=classes.attributes.shape[1],
        seen=int(classes.seen.sum()),
        words=classes.words,
    )


def fit(
    config: RunConfig, data: Development, *, resume: State | None = None, device: str = "cpu"
) -> Iterator[Epoch]:
    """Train and yield each epoch, from the first or from the one after `resume`.

    `data` holds the fold already: `config.fold` is for whoever opens it.
    """
    model = build(config, data.classes, data.channels).to(device)
    optimizer = _optimizer(config.optim, model)
    done = 0
    if resume is not None:
        model.load_state_dict(resume["model"])
        optimizer.load_state_dict(resume["optimizer"])
        done = resume["number"]

    for number in range(done + 1, config.optim.epochs + 1):
        # Chance depends on the seed and the epoch alone, so resuming needs no generator's state.
        torch.manual_seed(10_000 * config.seed + number)
        for group in optimizer.param_groups:
            group["lr"] = rate(config.optim, number)
        losses = train_epoch(config, model, optimizer, data)
        metrics = losses | validate(config, model, data)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        yield Epoch(number, metrics, state | {"number": number})


def _optimizer(config: OptimConfig, model: DRMN) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.name]
    return kind(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)


def rate(config: OptimConfig, number: int) -> float:
    """Return the learning rate of epoch `number`, counted from 1."""
    if config.schedule == "constant":
        return config.lr
    return config.lr * (1 + math.cos(math.pi * (number - 1) / config.epochs)) / 2


def train_epoch(
    config: RunConfig, model: DRMN, optimizer: torch.optim.Optimizer, data: Development
) -> dict[str, float]:
    """Go through the training images once; return each loss term, averaged over the images."""
    model.train()
    device = next(model.parameters()).device
    classes = data.classes.to(device)
    sums: defaultdict[str, float] = defaultdict(float)
    for batch in data.train.batches(config.optim.batch_size, shuffle=True):
        there = batch.to(device)
        loss, terms = total(config.loss, config.model, model(there.maps), classes, there.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        for name, term in {"total": loss, **terms}.items():
            sums[f"loss/{name}"] += term.item() * len(batch.labels)
    return {name: value / len(data.train) for name, value in sums.items()}

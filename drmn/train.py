"""The training loop, as a stream of epochs.

`fit` reports nothing and saves nothing. It yields after each epoch, and whoever asked decides what
an epoch is for: a job prints it, a trial tells Ray, a test looks at it. To stop early, stop asking.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from drmn import calibration
from drmn.config import OptimConfig, RunConfig
from drmn.data.development import Classes, Development, Split
from drmn.evaluate import per_class_accuracy
from drmn.losses import total
from drmn.model.network import DRMN, hyperspherical

State = dict[str, Any]


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


def fit(config: RunConfig, data: Development, *, resume: State | None = None) -> Iterator[Epoch]:
    """Train and yield each epoch, from the first or from the one after `resume`."""
    model = build(config, data.classes, data.channels)
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
    sums: defaultdict[str, float] = defaultdict(float)
    for batch in data.train.batches(config.optim.batch_size, shuffle=True):
        scores = model(batch.maps)
        loss, terms = total(config.loss, config.model, scores, data.classes, batch.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        for name, term in {"total": loss, **terms}.items():
            sums[f"loss/{name}"] += term.item() * len(batch.labels)
    return {name: value / len(data.train) for name, value in sums.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The two branches' logits for some images."""

    semantic: Tensor
    """o: [image, class]."""
    globally: Tensor | None
    """g: [image, seen], or None without a global branch."""
    labels: Tensor


@torch.inference_mode()
def predict(config: RunConfig, model: DRMN, split: Split, classes: Classes) -> Predictions:
    """Return the logits of all images of `split`, in its order."""
    model.eval()
    parts = []
    for batch in split.batches(256):
        scores = model(batch.maps)
        logits = hyperspherical(scores.attributes, classes.attributes, config.model.scale)
        parts.append((logits, scores.globally))
    globally = None if parts[0][1] is None else torch.cat([part[1] for part in parts])
    return Predictions(torch.cat([part[0] for part in parts]), globally, split.labels)


def validate(config: RunConfig, model: DRMN, data: Development) -> dict[str, float]:
    """Return the validation metrics of `model`, with gamma and beta chosen for it."""
    seen = predict(config, model, data.val_seen, data.classes)
    unseen = predict(config, model, data.val_unseen, data.classes)
    return judge(seen, unseen, data.classes)


def judge(on_seen: Predictions, on_unseen: Predictions, classes: Classes) -> dict[str, float]:
    """Return T1, and U, S, H at the gamma and beta that the smoothed rule chooses, and AUSUC.

    `val/H_optimal` is H at the exactly best gamma for these images: an optimistic figure.
    """
    both = [on_seen, on_unseen]
    globally = None
    if on_seen.globally is not None and on_unseen.globally is not None:
        globally = torch.cat([on_seen.globally, on_unseen.globally])
    share, leads = calibration.choose_share(
        torch.cat([part.semantic for part in both]),
        globally,
        torch.cat([part.labels for part in both]),
        classes.seen,
    )
    gamma, _ = calibration.choose(leads)
    curve, chosen = calibration.curve(leads), calibration.at(leads, gamma)
    return {
        "val/T1": conventional(on_unseen, classes),
        "val/U": chosen.unseen,
        "val/S": chosen.seen,
        "val/H": chosen.harmonic,
        "val/H_se": calibration.standard_error(leads, gamma),
        "val/H_optimal": calibration.optimum(curve).harmonic,
        "val/AUSUC": curve.ausuc,
        "val/gamma": gamma,
        "val/beta": share,
    }


def conventional(on_unseen: Predictions, classes: Classes) -> float:
    """Return T1: per-class accuracy with the unseen classes alone as candidates."""
    unseen = torch.arange(len(classes.seen))[~classes.seen]
    guesses = unseen[on_unseen.semantic[:, ~classes.seen].argmax(dim=1)]
    return per_class_accuracy(guesses, on_unseen.labels)

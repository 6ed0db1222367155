"""The training loop, as a stream of epochs.

`fit` reports nothing and saves nothing. It yields after each epoch, and whoever asked decides what
an epoch is for: a job prints it, a trial tells Ray, a test looks at it. To stop early, stop asking.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from drmn import calibration
from drmn.config import OptimConfig, RunConfig
from drmn.data.development import Classes, Development, Part, Split
from drmn.errors import DataError
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


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The two branches' logits for some images."""

    semantic: Tensor
    """o: [image, class]."""
    globally: Tensor | None
    """g: [image, seen], or None without a global branch."""
    labels: Tensor
    parts: frozenset[Part]
    """What the images are for."""


@torch.inference_mode()
def predict(
    config: RunConfig, model: DRMN, splits: Sequence[Split], classes: Classes
) -> Predictions:
    """Return the logits of all images of `splits`, in their order."""
    model.eval()
    device = next(model.parameters()).device
    attributes = classes.attributes.to(device)
    parts = []
    for batch in (batch for split in splits for batch in split.batches(config.optim.batch_size)):
        scores = model(batch.to(device).maps)
        logits = hyperspherical(scores.attributes, attributes, config.model.scale)
        globally = None if scores.globally is None else scores.globally.cpu()
        parts.append((logits.cpu(), globally))
    semantic, globally = zip(*parts, strict=True)
    return Predictions(
        torch.cat(semantic),
        None if globally[0] is None else torch.cat(globally),
        torch.cat([split.labels for split in splits]),
        frozenset(split.part for split in splits),
    )


def validate(config: RunConfig, model: DRMN, data: Development) -> dict[str, float]:
    """Return the validation metrics of `model`, with gamma and beta chosen for it."""
    return judge(
        predict(config, model, [data.val_seen, data.val_unseen], data.classes), data.classes.seen
    )


def judge(made: Predictions, seen: Bool[Tensor, " class"]) -> dict[str, float]:
    """Return the figures of two branches at the beta and gamma that the smoothed rule chooses.

    Raises:
        DataError: The images are not for validation: nothing may be chosen on others.
    """
    if made.parts != {"val"}:
        raise DataError(
            "gamma and beta are chosen on val images alone; these are "
            f"{' and '.join(sorted(made.parts))} images."
        )
    share, leads = calibration.choose_share(made.semantic, made.globally, made.labels, seen)
    return figures(leads, conventional(made, seen)) | {"val/beta": share}


def figures(leads: calibration.Leads, conventional: float) -> dict[str, float]:
    """Return U, S and H at the gamma of the smoothed rule, and AUSUC, beside T1.

    `val/H_optimal` is H at the exactly best gamma for these images: an optimistic figure.
    """
    gamma, _ = calibration.choose(leads)
    curve, chosen = calibration.curve(leads), calibration.at(leads, gamma)
    return {
        "val/T1": conventional,
        "val/U": chosen.unseen,
        "val/S": chosen.seen,
        "val/H": chosen.harmonic,
        "val/H_se": calibration.standard_error(leads, gamma),
        "val/H_optimal": calibration.optimum(curve).harmonic,
        "val/AUSUC": curve.ausuc,
        "val/gamma": gamma,
    }


def conventional(made: Predictions, seen: Bool[Tensor, " class"]) -> float:
    """Return T1: per-class accuracy on unseen images, with the unseen classes as candidates."""
    unseen = torch.arange(len(seen))[~seen]
    of_unseen = ~seen[made.labels]
    guesses = unseen[made.semantic[of_unseen][:, ~seen].argmax(dim=1)]
    return per_class_accuracy(guesses, made.labels[of_unseen])

"""The line that DRMN must beat: ESZSL on the same features and the same split."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from drmn import calibration
from drmn.data.development import Development
from drmn.validate import Predictions, conventional, figures

POWERS = (-3, -2, -1, 0, 1, 2, 3)
"""Powers of ten tried for each of the two regularisers; gamma is that many times the images."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The best closed-form model on validation."""

    metrics: dict[str, float]
    levels: str
    feature_power: int
    attribute_power: int


def eszsl(data: Development) -> Baseline:
    r"""Return the best ESZSL model by validation H, chosen as DRMN's settings are.

    Romera-Paredes and Torr, ICML 2015: $V = (X^\top X + \gamma I)^{-1} X^\top Y S
    (S^\top S + \lambda I)^{-1}$ on mean-pooled, standardised features; with calibrated stacking.
    The last level alone, and all levels together, are tried.
    """
    means = means_of(data)
    return max(
        (model for levels in _choices(data) for model in _on(data, means, levels)),
        key=lambda model: model.metrics["val/H"],
    )


def _choices(data: Development) -> list[tuple[int, ...]]:
    every = tuple(sorted(data.channels))
    return [every[-1:]] if len(every) == 1 else [every[-1:], every]


Means = Mapping[int, Float[Tensor, "image channel"]]
"""The mean region of each image of a store, by stride."""


def means_of(data: Development) -> Means:
    """Return the mean regions of all images, training and validation alike."""
    return {s: level.means(data.train.stored) for s, level in data.train.levels.items()}


def _on(data: Development, means: Means, levels: tuple[int, ...]) -> Iterator[Baseline]:
    train, *both = _standardised(data, means, levels)
    val, labels = torch.cat(both), torch.cat([data.val_seen.labels, data.val_unseen.labels])
    attributes = data.classes.attributes.double()
    signature = attributes[data.classes.seen]
    for p, q, weights in _solutions(train, data.train.labels, signature):
        scores = val @ weights @ attributes.T
        leads = calibration.reduce(scores, labels, data.classes.seen)
        t1 = conventional(Predictions(scores, None, labels, frozenset({"val"})), data.classes.seen)
        yield Baseline(figures(leads, t1) | {"val/beta": 0.0}, "+".join(map(str, levels)), p, q)


def _solutions(
    features: Float[Tensor, "image feature"],
    labels: Int[Tensor, " image"],
    signature: Float[Tensor, "seen attr"],
) -> Iterator[tuple[int, int, Float[Tensor, "feature attr"]]]:
    """Yield V for each pair of powers."""
    targets = torch.full((len(features), len(signature)), -1.0, dtype=torch.double)
    targets[torch.arange(len(features)), labels] = 1.0  # Y
    gram, cross = features.T @ features, features.T @ targets @ signature
    inner = signature.T @ signature
    for p in POWERS:
        left = torch.linalg.solve(_ridge(gram, len(features) * 10.0**p), cross)
        for q in POWERS:
            yield p, q, torch.linalg.solve(_ridge(inner, 10.0**q), left.T).T


def _ridge(matrix: Tensor, amount: float) -> Tensor:
    return matrix + amount * torch.eye(len(matrix), dtype=matrix.dtype)


def _standardised(data: Development, means: Means, levels: tuple[int, ...]) -> list[Tensor]:
    """Return the features of train, val-seen and val-unseen by the mean and spread of train."""
    data.train.require("train", "standardising features")
    data.val_seen.require("val", "choosing gamma")
    data.val_unseen.require("val", "choosing gamma")
    pooled = torch.cat([means[stride] for stride in levels], dim=1).double()
    parts = [pooled[split.rows] for split in (data.train, data.val_seen, data.val_unseen)]
    mean, spread = parts[0].mean(dim=0), parts[0].std(dim=0).clamp(min=1e-6)
    return [(part - mean) / spread for part in parts]

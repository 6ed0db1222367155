"""The line that DRMN must beat: ESZSL on the same features and the same split."""

from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from drmn.data.development import Development, Split
from drmn.train import Predictions, judge

POWERS = (-3, -2, -1, 0, 1, 2, 3)
"""Powers of ten tried for each of the two regularisers, relative to the number of images and of
classes."""


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
    return max(
        (model for levels in _choices(data) for model in _on(data, levels)),
        key=lambda model: model.metrics["val/H"],
    )


def _choices(data: Development) -> list[tuple[int, ...]]:
    every = tuple(sorted(data.channels))
    return [every[-1:]] if len(every) == 1 else [every[-1:], every]


def _on(data: Development, levels: tuple[int, ...]) -> list[Baseline]:
    train, val_seen, val_unseen = (
        _pooled(split, levels) for split in (data.train, data.val_seen, data.val_unseen)
    )
    mean, spread = train.mean(dim=0), train.std(dim=0).clamp(min=1e-6)
    train, val_seen, val_unseen = ((x - mean) / spread for x in (train, val_seen, val_unseen))
    attributes = data.classes.attributes.double()
    signature = attributes[data.classes.seen]
    targets = torch.full((len(train), len(signature)), -1.0, dtype=torch.double)
    targets[torch.arange(len(train)), data.train.labels] = 1.0
    gram, cross = train.T @ train, train.T @ targets @ signature
    inner = signature.T @ signature
    models = []
    for p, q in product(POWERS, POWERS):
        left = torch.linalg.solve(_ridge(gram, len(train) * 10.0**p), cross)
        weights = torch.linalg.solve(_ridge(inner, 10.0**q), left.T).T  # [feature, attr]
        on = [
            Predictions(x @ weights @ attributes.T, None, split.labels)
            for x, split in ((val_seen, data.val_seen), (val_unseen, data.val_unseen))
        ]
        name = "+".join(map(str, levels))
        models.append(Baseline(judge(on[0], on[1], data.classes), name, p, q))
    return models


def _ridge(matrix: Tensor, amount: float) -> Tensor:
    return matrix + amount * torch.eye(len(matrix), dtype=matrix.dtype)


def _pooled(split: Split, levels: tuple[int, ...]) -> Float[Tensor, "image feature"]:
    parts = [
        torch.cat([batch.maps[stride].mean(dim=1) for stride in levels], dim=1)
        for batch in split.batches(256)
    ]
    return torch.cat(parts).double()

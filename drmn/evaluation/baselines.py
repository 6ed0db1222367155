"""Baselines: two closed-form models on the same features and the same split."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int
from torch import Tensor

from drmn.data.splits.development import Development
from drmn.evaluation import calibration
from drmn.evaluation.validation import Predictions, conventional, figures_at

POWERS = (-3, -2, -1, 0, 1, 2, 3)
"""Powers of ten tried for each regulariser; that of features is multiplied by the images."""

Features = Float[Tensor, "image feature"]
Labels = Int[Tensor, " image"]
Signatures = Float[Tensor, "class attr"]
"""Attributes of classes, the seen ones first."""
Weights = Float[Tensor, "feature attr"]
Solutions = Iterator[tuple[tuple[int, ...], Weights]]
"""Weights, each with the powers of ten of its regularisers."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The best closed-form model on validation."""

    name: str
    metrics: dict[str, float]
    levels: str
    powers: tuple[int, ...]
    """Powers of ten: the regularisers of the features and, for ESZSL, of the attributes."""


def fit_baselines(data: Development) -> list[Baseline]:
    """Return the best model of each kind by validation H, chosen as DRMN's settings are.

    Each is fitted to mean-pooled, standardised features, of the last level alone and of all levels
    together, and judged with calibrated stacking.
    """
    best: dict[str, Baseline] = {}
    means = means_of(data)
    labels = torch.cat([data.val_seen.labels, data.val_unseen.labels])
    attributes, seen = data.classes.attributes.double(), data.classes.seen
    for levels in _choices(data):
        train, *both = _standardised(data, means, levels)
        val, made = torch.cat(both), "+".join(map(str, levels))
        for name, (solve, score) in KINDS.items():
            for powers, weights in solve(train, data.train.labels, attributes[seen]):
                scores = score(val @ weights, attributes, seen)
                one = Baseline(name, _judged(scores, labels, seen), made, powers)
                best[name] = max(best.get(name, one), one, key=lambda b: b.metrics["val/H"])
    return list(best.values())


def strongest(found: Sequence[Baseline]) -> Baseline:
    """Return the baseline of the highest validation H."""
    return max(found, key=lambda line: line.metrics["val/H"])


def _judged(scores: Tensor, labels: Tensor, seen: Tensor) -> dict[str, float]:
    t1 = conventional(Predictions(scores, None, labels, frozenset({"val"})), seen)
    leads = calibration.reduce(scores, labels, seen)
    gamma, _ = calibration.choose_gamma(leads)
    return figures_at(leads, t1, gamma) | {"val/beta": 0.0, "val/delta": 0.0}


def eszsl(train: Features, labels: Labels, signatures: Signatures) -> Solutions:
    r"""Yield the weights of each pair of powers.

    Romera-Paredes and Torr, ICML 2015: $V = (X^\top X + \gamma I)^{-1} X^\top Y S
    (S^\top S + \lambda I)^{-1}$.

    Args:
        train: Features X of the training images.
        labels: Their classes; Y is 1 there and -1 elsewhere.
        signatures: Attributes S of the seen classes.
    """
    targets = torch.full((len(train), len(signatures)), -1.0, dtype=torch.double)
    targets[torch.arange(len(train)), labels] = 1.0
    gram, cross = train.T @ train, train.T @ targets @ signatures
    inner = signatures.T @ signatures
    for p in POWERS:
        left = torch.linalg.solve(_ridge(gram, len(train) * 10.0**p), cross)
        for q in POWERS:
            yield (p, q), torch.linalg.solve(_ridge(inner, 10.0**q), left.T).T


def cosine(train: Features, labels: Labels, signatures: Signatures) -> Solutions:
    r"""Yield the weights of each power: ridge regression onto the attributes of an image's class.

    $W = (X^\top X + \gamma I)^{-1} X^\top (Z_y - \bar z)$ with the mean $\bar z$ of the seen
    classes: what all classes share distinguishes none of them.

    Args:
        train: Features X of the training images.
        labels: Their classes.
        signatures: Attributes Z of the seen classes.
    """
    centred = signatures - signatures.mean(dim=0)
    gram, cross = train.T @ train, train.T @ centred[labels]
    for p in POWERS:
        yield (p,), torch.linalg.solve(_ridge(gram, len(train) * 10.0**p), cross)


def products(found: Tensor, attributes: Signatures, seen: Tensor) -> Tensor:
    """Return ESZSL's scores [image, class] of attributes predicted for images."""
    del seen
    return found @ attributes.T


def cosines(found: Tensor, attributes: Signatures, seen: Tensor) -> Tensor:
    """Return cosines [image, class] with each class's difference from the mean seen class."""
    centred = attributes - attributes[seen].mean(dim=0)
    return F.normalize(found, dim=1) @ F.normalize(centred, dim=1).T


KINDS = {"ESZSL": (eszsl, products), "cosine": (cosine, cosines)}
"""The solver of each baseline's weights, and the scoring of classes by predicted attributes."""


def _choices(data: Development) -> list[tuple[int, ...]]:
    every = tuple(sorted(data.channels))
    return [every[-1:]] if len(every) == 1 else [every[-1:], every]


Means = Mapping[int, Float[Tensor, "image channel"]]
"""The mean region of each image of a store, by stride."""


def means_of(data: Development) -> Means:
    """Return the mean regions of all images, training and validation alike."""
    return {s: level.means(data.train.stored) for s, level in data.train.levels.items()}


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

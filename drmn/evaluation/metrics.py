"""Accuracy as the field's protocol defines it: averaged over classes, not over images."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def per_class_accuracy(guesses: Int[Tensor, " image"], labels: Int[Tensor, " image"]) -> float:
    """Return the accuracy of each class in `labels`, averaged over those classes.

    A class counts once however many images it has, and not at all if it has none: averaging over
    absent classes is the 0/0 that turns a whole study into NaN.
    """
    return float((class_weights(labels) * (guesses == labels)).sum())


def class_weights(labels: Int[Tensor, " image"]) -> Float[Tensor, " image"]:
    """Return each image's contribution to class-averaged accuracy if right; they sum to 1."""
    size = labels.bincount()
    return 1.0 / (size[labels].double() * (size > 0).sum())


def harmonic_mean(unseen: float, seen: float) -> float:
    """Return H = 2US / (U + S), and 0 where both are 0."""
    return 2 * unseen * seen / (unseen + seen) if unseen + seen > 0 else 0.0


def harmonic_means(
    unseen: Float[Tensor, " *n"], seen: Float[Tensor, " *n"]
) -> Float[Tensor, " *n"]:
    """Return H for each pair; 0 where both are 0."""
    return 2 * unseen * seen / (unseen + seen).clamp(min=torch.finfo(unseen.dtype).tiny)

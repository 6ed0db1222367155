"""Figures of the refit on the opened test split, beside the baselines refitted the same way."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drmn.evaluation import calibration
from drmn.evaluation.calibration import Curve
from drmn.evaluation.metrics import per_class_accuracy
from drmn.evaluation.validation import Predictions, conventional, predict
from drmn.final.refit import Refit, Trained

NAMES = ("T1", "U", "S", "H", "AUSUC", "oracle_H")
TWINS = 10
"""Pairs of classes that are listed as mistaken for each other."""


Figures = Mapping[str, float]
"""Test figures of one model, shares of 1, by `NAMES`.

T1 is per-class accuracy on unseen images with the unseen classes as candidates. U, S and H are at
the carried gamma, which no test image had a part in; `oracle_H` is at the best gamma for these
images.
"""


@dataclass(frozen=True, slots=True)
class PerClass:
    """A class of the test split."""

    name: str
    seen: bool
    images: int
    accuracy: float


@dataclass(frozen=True, slots=True, eq=False)
class FinalFigures:
    """All figures of the one test."""

    seeds: Sequence[Figures]
    ensemble: Figures
    """Of the mean scores of all seeds."""
    classes: Sequence[PerClass]
    """By the ensemble."""
    twins: Sequence[tuple[str, str, int, int]]
    """Two classes, and how many images of each are taken for the other, by the ensemble."""
    curve: Curve
    gamma: float

    def mean(self) -> dict[str, dict[str, float]]:
        """Return mean and standard deviation over the seeds of each figure."""
        rows = self.seeds
        return {
            name: {
                "mean": statistics.mean(row[name] for row in rows),
                "sd": statistics.stdev(row[name] for row in rows) if len(rows) > 1 else 0.0,
            }
            for name in NAMES
        }

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            **self.mean(),
            "gamma": self.gamma,
            "seeds": [dict(each) for each in self.seeds],
            "ensemble": dict(self.ensemble),
            "classes": [asdict(each) for each in self.classes],
            "twins": [list(each) for each in self.twins],
        }


def judge_test(refit: Refit) -> FinalFigures:
    """Return the figures of a refit's networks on the test split."""
    made = [_predicted(each) for each in refit.networks]
    seen = refit.networks[0].data.classes.seen
    names = refit.networks[0].data.classes.names
    rule = refit.rule
    plain = replace(rule, gamma=0.0)
    scores = [plain.scores(each.class_logits, each.global_logits, seen) for each in made]
    seeds = [figures(own, each, rule.gamma, seen) for own, each in zip(scores, made, strict=True)]
    mean = torch.stack(scores).mean(dim=0)
    logits = torch.stack([each.class_logits for each in made]).mean(dim=0)
    together = replace(made[0], class_logits=logits)
    guesses = (mean - rule.gamma * seen).argmax(dim=1)
    labels = made[0].labels
    return FinalFigures(
        seeds=seeds,
        ensemble=figures(mean, together, rule.gamma, seen),
        classes=per_class(guesses, labels, names, seen),
        twins=twins(guesses, labels, names),
        curve=calibration.seen_unseen_curve(calibration.reduce(mean, labels, seen)),
        gamma=rule.gamma,
    )


def _predicted(each: Trained) -> Predictions:
    parts = [each.data.val_seen, each.data.val_unseen]
    return predict(each.config, each.network, parts, each.data.classes)


def figures(
    scores: Float[Tensor, "image class"],
    made: Predictions,
    gamma: float,
    seen: Bool[Tensor, " class"],
) -> Figures:
    """Return the figures of scores before gamma; T1 is that of the class logits."""
    leads = calibration.reduce(scores, made.labels, seen)
    curve, point = calibration.seen_unseen_curve(leads), calibration.at(leads, gamma)
    return {
        "T1": conventional(made, seen),
        "U": point.unseen,
        "S": point.seen,
        "H": point.harmonic,
        "AUSUC": curve.ausuc,
        "oracle_H": calibration.optimum(curve).harmonic,
    }


def per_class(
    guesses: Int[Tensor, " image"],
    labels: Int[Tensor, " image"],
    names: Sequence[str],
    seen: Bool[Tensor, " class"],
) -> list[PerClass]:
    """Return the accuracy of each class that has images, the lowest first."""
    rows = []
    for label in labels.unique().tolist():
        own = labels == label
        accuracy = per_class_accuracy(guesses[own], labels[own])
        rows.append(PerClass(names[label], bool(seen[label]), int(own.sum()), accuracy))
    return sorted(rows, key=lambda row: (row.accuracy, row.name))


def twins(
    guesses: Int[Tensor, " image"], labels: Int[Tensor, " image"], names: Sequence[str]
) -> list[tuple[str, str, int, int]]:
    """Return the pairs of classes that are taken for each other most often, both ways."""
    count = len(names)
    table = torch.zeros(count, count, dtype=torch.long)
    table.index_put_((labels, guesses), torch.ones(len(labels), dtype=torch.long), accumulate=True)
    both = torch.minimum(table, table.T).triu(diagonal=1)
    best = both.flatten().argsort(descending=True)[:TWINS]
    pairs = [(int(place) // count, int(place) % count) for place in best if both.flatten()[place]]
    return [(names[a], names[b], int(table[a, b]), int(table[b, a])) for a, b in pairs]

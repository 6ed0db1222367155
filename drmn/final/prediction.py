"""Predictions of a packed network for photos, with the attributes for and against them."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from drmn.data.splits.development import Classes
from drmn.errors import ConfigError, DataError
from drmn.final.exported import Exported
from drmn.tracking.candidates import with_classes
from drmn.tracking.model_package import Answer, Package

Classifier = Package | Exported
BATCH = 32
"""Photos that are classified at a time."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A class among the best for a photo."""

    name: str
    seen: bool
    """Whether training had images of it."""
    score: float
    """Calibrated, so that the largest is the prediction."""
    probability: float
    """Before seen classes are held back."""
    raw_rank: int
    """Rank by the probability, from 1."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction for a photo, and why."""

    photo: str
    top: Sequence[Choice]
    """The best classes, the prediction first."""
    supporting: Sequence[tuple[str, float]]
    """Attributes and what each adds to the cosine of photo and predicted class, largest first."""
    opposing: Sequence[tuple[str, float]]
    """Attributes that take most from it."""
    differences: Sequence[tuple[str, float]]
    """Of all attributes, by how much each favours the prediction over the second class; they sum to
    the difference of the two cosines."""


def predict_photos(
    model: Classifier, photos: Sequence[Path], classes: Classes, top: int = 5
) -> Iterator[Prediction]:
    """Yield the prediction for each photo, in their order.

    Raises:
        DataError: A photo cannot be read; says which.
    """
    for start in range(0, len(photos), BATCH):
        files = photos[start : start + BATCH]
        answer = _answer(model, files, classes)
        for place, file in enumerate(files):
            yield _prediction(answer, place, str(file), top)


def _answer(model: Classifier, files: Sequence[Path], classes: Classes) -> Answer:
    try:
        return model.classify([file.read_bytes() for file in files], classes)
    except DataError:
        for file in files:  # which one it is
            try:
                model.classify([file.read_bytes()], classes)
            except DataError:
                raise DataError(f"{file}: not a photo that can be read.") from None
        raise


def _prediction(answer: Answer, place: int, photo: str, top: int) -> Prediction:
    order = answer.scores[place].argsort(descending=True)
    ranks = answer.probabilities[place].argsort(descending=True).argsort() + 1
    best = [
        Choice(
            name=answer.classes.names[c],
            seen=bool(answer.classes.seen[c]),
            score=float(answer.scores[place, c]),
            probability=float(answer.probabilities[place, c]),
            raw_rank=int(ranks[c]),
        )
        for c in order[:top].tolist()
    ]
    own, attributes = answer.attributes[place], answer.classes.attributes
    share = own * attributes[order[0]]
    second = order[1] if len(order) > 1 else order[0]
    apart = own * (attributes[order[0]] - attributes[second])
    names = answer.classes.attribute_names
    return Prediction(
        photo=photo,
        top=best,
        supporting=_named(share, names, most=True)[:top],
        opposing=[each for each in _named(share, names, most=False)[:top] if each[1] < 0],
        differences=_named(apart, names, most=True),
    )


def _named(values: Tensor, names: Sequence[str], *, most: bool) -> list[tuple[str, float]]:
    order = values.argsort(descending=most)
    return [(names[a], float(values[a])) for a in order.tolist()]


def new_classes(known: Classes, table: Path) -> Classes:
    """Return a model's classes with those of a CSV: a name, then a column an attribute.

    Raises:
        ConfigError: The table does not fit the model's attributes.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise ConfigError(f"--classes {table}: {problem}.") from None
    if len(rows) < 2:
        raise ConfigError(f"--classes {table}: a head and a row for each new class are needed.")
    head, more = rows[0][1:], {}
    for number, row in enumerate(rows[1:], 2):
        try:
            values = [float(cell) for cell in row[1:]]
        except ValueError as problem:
            raise ConfigError(f"--classes {table}: line {number}: {problem}.") from None
        if len(values) != len(head):
            raise ConfigError(
                f"--classes {table}: line {number} has {len(values)} values, the head {len(head)}."
            )
        more[row[0]] = dict(zip(head, values, strict=True))
    try:
        return with_classes(known, more)
    except ConfigError as problem:
        raise ConfigError(f"--classes {table}: {problem}") from None


def counts(found: Sequence[Prediction]) -> str:
    """Return how many photos were taken for seen and for unseen classes."""
    seen = sum(each.top[0].seen for each in found)
    return f"{len(found)} photos: {seen} of seen and {len(found) - seen} of unseen classes"

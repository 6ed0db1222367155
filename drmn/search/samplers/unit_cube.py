"""Settings as places in their ranges, from 0 to 1, and back."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Distributions = Mapping[str, BaseDistribution]
UnitPoints = Float[np.ndarray, "point setting"]
"""Positions of settings in their ranges, in the order of a space."""
MAX_COUNTED = 1024
"""Maximum size of a range of whole numbers that counts as a grid."""


def to_unit(value: Any, each: BaseDistribution) -> float:
    """Return where a value lies in its range; 0 in a range of one value."""
    if isinstance(each, CategoricalDistribution):
        return each.choices.index(value) / max(1, len(each.choices) - 1)
    assert isinstance(each, FloatDistribution | IntDistribution)  # noqa: S101 - there is no other
    low, high = float(each.low), float(each.high)
    if low == high:
        return 0.0
    if each.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def from_unit(where: float, each: BaseDistribution) -> Any:
    """Return the value at a position in a range; words have equal parts of it."""
    if isinstance(each, CategoricalDistribution):
        return each.choices[min(int(where * len(each.choices)), len(each.choices) - 1)]
    assert isinstance(each, FloatDistribution | IntDistribution)  # noqa: S101 - there is no other
    low, high = float(each.low), float(each.high)
    value = low * (high / low) ** where if each.log else low + (high - low) * where
    if each.step is not None and not (each.log and isinstance(each, FloatDistribution)):
        value = low + round((value - low) / each.step) * each.step
    value = min(max(value, low), high)
    return round(value) if isinstance(each, IntDistribution) else value


def from_quantile(share: float, each: BaseDistribution) -> Any:
    """Return the value below which a share of a distribution lies, from 0 up to but not 1.

    Each step has an equal part; in `from_unit` those at either end have half of one.
    """
    if isinstance(each, FloatDistribution | IntDistribution) and each.step and not each.log:
        steps = math.floor((each.high - each.low) / each.step + 1e-9)
        share = (share * (steps + 1) - 0.5) / max(1, steps)
    return from_unit(share, each)


def grid_values(each: BaseDistribution) -> list[Any]:
    """Return all values of a distribution; empty if there are too many."""
    if isinstance(each, CategoricalDistribution):
        return list(each.choices)
    if isinstance(each, IntDistribution) and (each.high - each.low) // each.step < MAX_COUNTED:
        return list(range(each.low, each.high + 1, each.step))
    return []


def to_unit_point(params: Sequence[Mapping[str, Any]], space: Distributions) -> UnitPoints:
    """Return the positions of settings in their ranges."""
    return np.array([[to_unit(each[n], d) for n, d in space.items()] for each in params])


def from_unit_points(places: Float[np.ndarray, " setting"], space: Distributions) -> dict[str, Any]:
    """Return the settings at these positions."""
    return {n: from_unit(float(x), d) for x, (n, d) in zip(places, space.items(), strict=True)}


def one_hot(places: UnitPoints, space: Distributions) -> Float[np.ndarray, "point column"]:
    """Return the columns that distances are taken of: three or more words have one each.

    A position between two values counts as that of the value `from_unit` gives it.
    """
    columns = [_columns(places[:, index], each) for index, each in enumerate(space.values())]
    return np.concatenate(columns, axis=1)


def _columns(places: Float[np.ndarray, " point"], each: BaseDistribution) -> np.ndarray:
    if isinstance(each, FloatDistribution) and each.step is None:
        return places[:, None]
    there = np.array([to_unit(from_unit(float(x), each), each) for x in places])
    if isinstance(each, CategoricalDistribution) and len(each.choices) > 2:
        words = np.rint(there * (len(each.choices) - 1)).astype(int)
        return np.eye(len(each.choices))[words] / math.sqrt(2)
    return there[:, None]

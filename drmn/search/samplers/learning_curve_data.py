"""Learning curves of trials, as the data of a Gaussian process over settings and epochs."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from optuna.trial import FrozenTrial

from drmn.search.samplers.unit_cube import Distributions, one_hot, to_unit_point
from drmn.search.trial_summary import bests

PointMatrix = Float[np.ndarray, "value setting"]
Vector = Float[np.ndarray, " value"]
MAX_CURVES, BEST_CURVES = 300, 60
"""Maximum number of trials that are fitted, and how many of them are the best of all; the others
are the latest. Time and memory grow with the cube and the square of their number."""
FIRST_FIT, REFIT_GROWTH = 6, 1.2
"""Trials of the first fit, and the factor by which their number grows until the next."""
EPOCH_FACTOR = 3
"""The epochs 1, 3, 9, … of a curve are kept, and the last."""


@dataclass(frozen=True, slots=True)
class CurveData:
    """Values of trials at epochs."""

    points: PointMatrix
    """Settings, each scaled to [0, 1]."""
    epochs: Vector
    trials: Int[np.ndarray, " value"]
    values: Vector


def selected(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that are fitted: all, or the best and the latest of many."""
    if len(trials) <= MAX_CURVES:
        return list(trials)
    ranked = sorted(range(len(trials)), key=lambda place: -worth(trials[place]))
    chosen = set(ranked[:BEST_CURVES])
    late = (place for place in reversed(range(len(trials))) if place not in chosen)
    chosen |= set(itertools.islice(late, MAX_CURVES - BEST_CURVES))
    return [trials[place] for place in sorted(chosen)]


def worth(trial: FrozenTrial) -> float:
    """Return a trial's best value so far."""
    return max(trial.intermediate_values.values(), default=-math.inf)


def data_of(trials: Sequence[FrozenTrial], space: Distributions, last: int) -> CurveData:
    """Return the curves' values, the best so far at each epoch that is kept.

    A trial without a curve, such as a failed one, has its value at the last epoch.
    """
    rows: list[tuple[int, int, float]] = []
    for index, trial in enumerate(trials):
        curve = bests(trial.intermediate_values) or {last: float(trial.value or 0.0)}
        end = max(curve)
        kept = sorted({e for e in curve if _is_power(e)} | {end})
        rows += [(index, epoch, curve[epoch]) for epoch in kept]
    points = one_hot(to_unit_point([trial.params for trial in trials], space), space)
    places = np.array([index for index, _, _ in rows])
    return CurveData(
        points=points[places],
        epochs=np.array([float(epoch) for _, epoch, _ in rows]),
        trials=places,
        values=np.array([value for _, _, value in rows]),
    )


def _is_power(epoch: int) -> bool:
    return EPOCH_FACTOR ** round(math.log(epoch, EPOCH_FACTOR)) == epoch

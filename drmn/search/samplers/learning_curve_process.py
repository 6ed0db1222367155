"""What the process over settings and epochs promises of new settings; apart, as it takes torch."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from optuna.trial import FrozenTrial

from drmn.search.samplers.learning_curve_data import (
    FIRST_FIT,
    MAX_CURVES,
    REFIT_GROWTH,
    CurveData,
    PointMatrix,
    data_of,
    selected,
)
from drmn.search.samplers.learning_curve_gp import LearningCurveGP, expected_improvement
from drmn.search.samplers.single_thread import lean
from drmn.search.samplers.unit_cube import Distributions, UnitPoints, one_hot, to_unit_point

Kernels = dict[tuple[int, tuple[str, ...]], Any]
"""Kernels by the number of trials and the names of settings."""


def promise(
    kernels: Kernels,
    known: Sequence[FrozenTrial],
    running: Sequence[FrozenTrial],
    space: Distributions,
    found: UnitPoints,
) -> Any:
    """Return the expected improvement of new settings at the last epoch of any trial.

    Args:
        kernels: Those fitted so far; one that is fitted is added.
        known: Trials with values.
        running: Trials that still run: their predictions are taken for their values.
        space: The settings that are chosen.
        found: The new settings.
    """
    with lean():
        curves, last = _process(kernels, known, running, space)
        points = one_hot(found, space)
        mean, spread = curves.predict(points, last, np.full(len(points), -1))
        return expected_improvement(mean, spread, _best(curves, last))


def _kernel(
    kernels: Kernels, trials: Sequence[FrozenTrial], space: Distributions, last: int
) -> Any:
    """Return a kernel fitted to the first of these trials.

    Their number grows in steps, as fitting takes longest.
    """
    count = FIRST_FIT
    while math.ceil(REFIT_GROWTH * count) <= min(len(trials), MAX_CURVES):
        count = math.ceil(REFIT_GROWTH * count)
    key = min(count, len(trials)), tuple(space)
    if key not in kernels:
        kernels[key] = LearningCurveGP(data_of(trials[:count], space, last)).kernel
    return kernels[key]


def _process(
    kernels: Kernels,
    known: Sequence[FrozenTrial],
    running: Sequence[FrozenTrial],
    space: Distributions,
) -> tuple[LearningCurveGP, int]:
    """Return the process fitted to known and running trials, and the last epoch of any."""
    seen = selected(known)
    last = max(max(each.intermediate_values, default=1) for each in known)
    kernel = _kernel(kernels, known, space, last)
    curves = LearningCurveGP(data_of(seen, space, last), kernel)
    if running:
        places = {each.number: place for place, each in enumerate(seen)}
        own = np.array([places.get(each.number, -1) for each in running])
        points = one_hot(to_unit_point([each.params for each in running], space), space)
        curves = _believing(curves, points, own, last)
    return curves, last


def _best(curves: LearningCurveGP, last: int) -> float:
    """Return the best value at the last epoch, measured or predicted; if none, at any epoch."""
    ends = curves.data.values[curves.data.epochs == last]
    return float((ends if len(ends) else curves.data.values).max())


def _believing(
    curves: LearningCurveGP, running: PointMatrix, own: Int[np.ndarray, " trial"], last: int
) -> LearningCurveGP:
    """Return a process that takes its predictions for running trials as their values.

    `own` has their indices among the data's trials; -1 for those without an epoch.
    """
    mean, _ = curves.predict(running, last, own)
    data, count = curves.data, len(running)
    new = int(data.trials.max()) + 1 + np.arange(count)
    more = CurveData(
        points=np.concatenate([data.points, running]),
        epochs=np.concatenate([data.epochs, np.full(count, float(last))]),
        trials=np.concatenate([data.trials, np.where(own < 0, new, own)]),
        values=np.concatenate([data.values, mean]),
    )
    return LearningCurveGP(more, curves.kernel)

"""Share of the variance between trials that each setting explains, with confidence bounds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from drmn.search.samplers.unit_cube import to_unit

ERROR = 0.05
"""Probability, about, that any of the bounds is wrong, for settings that were drawn at random."""


@dataclass(frozen=True, slots=True)
class Effect:
    """A setting's share of the variance of the ranks, with its bounds."""

    name: str
    trials: int
    share: float
    low: float
    high: float


def effect(
    name: str,
    values: Sequence[object],
    results: Sequence[float],
    distribution: BaseDistribution,
    error: float,
) -> Effect | None:
    """Return the effect of a setting's values on results; None if it cannot be estimated.

    Ranks of the results are fitted: by a parabola where values are numbers, as the best is often
    in the middle, and by their groups where they are words. Bounds of the share follow from the
    ratio of variances, which has a noncentral F distribution.
    """
    from scipy.stats import rankdata  # noqa: PLC0415 - a second or two

    fit = _columns(values, distribution)
    ranks = rankdata(results)
    count, size = fit.shape
    if np.linalg.matrix_rank(fit) < size or count <= size or np.ptp(ranks) == 0:
        return None
    fitted = fit @ np.linalg.lstsq(fit, ranks, rcond=None)[0]
    whole = float(((ranks - ranks.mean()) ** 2).sum())
    left = max(float(((ranks - fitted) ** 2).sum()), 1e-9 * whole)
    degrees = size - 1, count - size
    ratio = (whole - left) / degrees[0] / (left / degrees[1])
    low, high = (_share(ratio, degrees, count, at) for at in (1 - error / 2, error / 2))
    return Effect(name, count, 1 - left / whole, low, high)


def _columns(values: Sequence[object], distribution: BaseDistribution) -> np.ndarray:
    """Return the regressors of the ranks, a row per trial; the first column is the mean."""
    if isinstance(distribution, FloatDistribution | IntDistribution):
        places = np.array([to_unit(value, distribution) for value in values])
        powers = min(2, len(set(places.tolist())) - 1)  # two values have no parabola
        return np.vander(places, max(powers, 1) + 1, increasing=True)
    kinds = list(dict.fromkeys(values))
    return np.array([[1.0, *(value == kind for kind in kinds[1:])] for value in values])


def _share(ratio: float, degrees: tuple[int, int], count: int, chance: float) -> float:
    """Return the share of the variance under which a ratio as small has this chance."""
    from scipy import stats  # noqa: PLC0415 - a second or two
    from scipy.optimize import brentq  # noqa: PLC0415

    def above(noncentrality: float) -> float:
        # Of a ratio without bounds, SciPy's value is NaN where it should be next to 0.
        return float(np.nan_to_num(stats.ncf.cdf(ratio, *degrees, noncentrality))) - chance

    if stats.f.cdf(ratio, *degrees) <= chance:
        return 0.0
    most = 1.0
    while above(most) > 0:
        most *= 2
    found = float(brentq(above, 0, most))
    return found / (found + count)

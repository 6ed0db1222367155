"""What a search says about its own space: where it is too narrow, and what made no difference."""

import math
from collections.abc import Iterator, Mapping, Sequence

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from scipy import stats

from drmn.search.rows import AGAIN, Row, bests

BORDER = 0.03
"""Share of a range, from either end, that counts as its border."""
ENOUGH = 20
"""Trials before which nothing is said of what has an effect."""
NONE_SEEN = 0.3
"""Chance of such differences between settings that make none, from which on no effect is seen."""


def notes(
    best: Row | None, rows: Sequence[Row], trials: Sequence[FrozenTrial], rung: int
) -> list[str]:
    """Return what is to be said of a space after a search of it.

    Args:
        best: The best trial.
        rows: All trials.
        trials: The same, as Optuna has them.
        rung: The epoch at which trials are compared: all have come to it, pruned or not.
    """
    found: list[str] = []
    if best is not None:
        (trial,) = (each for each in trials if each.number == best.number)
        found += _on_a_border(trial)
    found += _without_effect(trials, rung)
    found += _constant([row.metrics for row in rows if row.metrics])
    return found


def _on_a_border(best: FrozenTrial) -> Iterator[str]:
    for name, distribution in sorted(best.distributions.items()):
        if not isinstance(distribution, FloatDistribution | IntDistribution):
            continue
        place = _place(best.params[name], distribution)
        if place is not None and not BORDER < place < 1 - BORDER:
            end = "low" if place <= BORDER else "high"
            yield (
                f"{name}: the best value, {best.params[name]:.3g}, is at the {end} end of its "
                f"range ({distribution.low:g} to {distribution.high:g}); widen it"
            )


def _place(value: float, distribution: FloatDistribution | IntDistribution) -> float | None:
    """Return where in its range a value lies, from 0 to 1; None where the range is a point."""
    low, high = float(distribution.low), float(distribution.high)
    if low == high:
        return None
    if distribution.log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)


def _without_effect(trials: Sequence[FrozenTrial], rung: int) -> Iterator[str]:
    chosen = [trial for trial in trials if AGAIN not in trial.user_attrs]  # of the other tier
    compared = [(trial, bests(trial).get(rung)) for trial in chosen]
    distributions: dict[str, BaseDistribution] = {}
    for trial in trials:
        distributions |= trial.distributions
    for name, distribution in sorted(distributions.items()):
        pairs = [(t.params[name], v) for t, v in compared if name in t.params and v is not None]
        if len(pairs) < ENOUGH:
            continue
        chance = _chance(pairs, distribution)
        if chance > NONE_SEEN:
            yield f"{name}: no effect was seen at epoch {rung} in {len(pairs)} trials"


def _chance(pairs: Sequence[tuple[object, float]], distribution: BaseDistribution) -> float:
    """Return how likely so much of a difference is where there is none; 0 for a single value."""
    if len({value for value, _ in pairs}) < 2:
        return 0.0
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return float(stats.spearmanr(*zip(*pairs, strict=True)).pvalue)
    groups: dict[object, list[float]] = {}
    for value, result in pairs:
        groups.setdefault(value, []).append(result)
    return float(stats.kruskal(*groups.values()).pvalue)


def _constant(metrics: Sequence[Mapping[str, float]]) -> Iterator[str]:
    if len(metrics) < ENOUGH:
        return
    for name, value in metrics[0].items():
        if name.startswith("val/") and all(each.get(name) == value for each in metrics):
            yield f"{name}: {value:g} in all {len(metrics)} trials"

"""A sampler that chooses by expected improvement under a process over settings and epochs."""

import heapq
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from jaxtyping import Float
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from drmn.search.samplers.learning_curve_data import FIRST_FIT, worth
from drmn.search.samplers.unit_cube import (
    Distributions,
    UnitPoints,
    from_unit_points,
    grid_values,
    to_unit,
    to_unit_point,
)

Params = dict[str, Any]
RANDOM_CANDIDATES, NEAR_BEST, LEADERS = 512, 256, 5
"""Random candidates, candidates near the best trials, and how many these best trials are."""
STEP = 0.15
"""Standard deviation of a step to a candidate nearby, in a range of 1."""
SMALL_GRID = 1024
"""Maximum number of points of a grid that is evaluated as a whole."""


class KernelCache:
    """Kernels fitted so far, by number of trials: a study that is reopened fits the same."""

    def __init__(self) -> None:
        self.kernels: dict[tuple[int, tuple[str, ...]], Any] = {}
        """Kernels by the number of trials and the names of settings."""
        self.common = optuna.search_space.IntersectionSearchSpace(include_pruned=True)
        """The settings that all trials have; each trial is read once."""


class LearningCurveSampler(optuna.samplers.BaseSampler):
    """Chooses the settings of the highest expected improvement at the last epoch.

    Conditional settings are left to `other`: a process needs all settings in all trials.

    Args:
        seed: Seed of this choice.
        other: The sampler of conditional settings.
        fits: Kernels, kept from choice to choice.
        order: The trials whose results are known, in the order in which they arrived.
    """

    def __init__(
        self, seed: int, other: optuna.samplers.BaseSampler, fits: KernelCache, order: Sequence[int]
    ) -> None:
        self.chance, self.other = np.random.default_rng(seed), other
        self.fits, self.order = fits, order

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the settings that all trials have, of more than one value."""
        del trial
        common = self.fits.common.calculate(study)
        return {name: each for name, each in sorted(common.items()) if not each.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Distributions
    ) -> Params:
        """Return the candidate of the highest expected improvement; empty if too few are known."""
        del trial
        if not search_space:
            return {}
        trials = study.get_trials(deepcopy=False)
        running = [t for t in trials if t.state == TrialState.RUNNING and _has(t, search_space)]
        over = [trials[place] for place in self.order if _has_result(trials[place], search_space)]
        known = over + [each for each in running if each.intermediate_values]
        if len(known) < FIRST_FIT:
            return {}
        # torch and SciPy: the first trials of a search, and a look at them, do without.
        from drmn.search.samplers.learning_curve_process import promise  # noqa: PLC0415

        found = self._candidates(known, search_space)
        gains = promise(self.fits.kernels, known, running, search_space, found)
        for best in np.argsort(-gains, kind="stable"):
            params = from_unit_points(found[best], search_space)
            if not any(_same(params, each.params) for each in trials):
                return params
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Leave a conditional setting, or one with too few trials, to the other sampler."""
        return self.other.sample_independent(study, trial, param_name, param_distribution)

    def _candidates(self, known: Sequence[FrozenTrial], space: Distributions) -> UnitPoints:
        """Return a small grid as a whole; for a large space random points and some near leaders."""
        grids = [[to_unit(value, each) for value in grid_values(each)] for each in space.values()]
        if math.prod(len(grid) if grid else SMALL_GRID + 1 for grid in grids) <= SMALL_GRID:
            return np.array(list(itertools.product(*grids)))
        leaders = heapq.nlargest(LEADERS, known, key=worth)
        near = to_unit_point([leader.params for leader in leaders], space)
        return np.concatenate(
            [self.chance.random((RANDOM_CANDIDATES, len(space))), self._near(near, space)]
        )

    def _near(
        self, leaders: Float[np.ndarray, "leader setting"], space: Distributions
    ) -> Float[np.ndarray, "near setting"]:
        """Return leaders with some settings changed: numbers a little, words at random."""
        shape = NEAR_BEST, len(space)
        near = leaders[self.chance.integers(len(leaders), size=NEAR_BEST)]
        moved = np.clip(near + STEP * self.chance.normal(size=shape), 0, 1)
        words = [isinstance(each, CategoricalDistribution) for each in space.values()]
        other = np.where(words, self.chance.random(shape), moved)
        return np.where(self.chance.random(shape) < 2 / (len(space) + 1), other, near)


def _has_result(trial: FrozenTrial, space: Distributions) -> bool:
    known = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    valued = bool(trial.intermediate_values) or trial.value is not None
    return known and valued and _has(trial, space)


def _has(trial: FrozenTrial, space: Distributions) -> bool:
    return all(name in trial.params for name in space)


def _same(found: Params, params: Mapping[str, Any]) -> bool:
    """Return whether settings were tried: numbers come back from the unit cube a little off."""
    return all(
        math.isclose(value, params[name], rel_tol=1e-9)
        if isinstance(value, float) and name in params
        else params.get(name) == value
        for name, value in found.items()
    )

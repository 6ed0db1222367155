"""A sampler that chooses by expected improvement under a process over settings and epochs."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from jaxtyping import Int
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from drmn.search.curve_data import MOST, data_of, looked_at, worth
from drmn.search.curves import Curves, Data, Points, expected_improvement, one_thread
from drmn.search.places import Space, encoded, place, value_at, values_of
from drmn.search.rows import bests

Params = dict[str, Any]
DRAWN, NEAR, LEADERS = 512, 256, 5
"""Candidates of chance, candidates near the best trials, and how many these are."""
STEP = 0.15
"""Standard deviation of a step to a candidate nearby, in a range of 1."""
SMALL = 1024
"""Points of a grid that is looked at as a whole."""
FIRST_FIT, GROWTH = 6, 1.2
"""Trials of the first fit, and by how much their number grows until the next."""


class Fits:
    """What was fitted so far, by number of trials: a study that is opened again fits the same."""

    def __init__(self) -> None:
        self.kernels: dict[tuple[int, tuple[str, ...]], Any] = {}
        """By the number of trials and the names of settings."""

    def kernel(self, trials: Sequence[FrozenTrial], space: Space, last: int) -> Any:
        """Return a kernel fitted to the first of these trials.

        How many these are grows in steps, for to fit takes longest.
        """
        count = FIRST_FIT
        while math.ceil(GROWTH * count) <= min(len(trials), MOST):
            count = math.ceil(GROWTH * count)
        key = min(count, len(trials)), tuple(space)
        if key not in self.kernels:
            self.kernels[key] = Curves(data_of(trials[:count], space, last)).kernel
        return self.kernels[key]


class CurveSampler(optuna.samplers.BaseSampler):
    """Chooses what is expected to be best at the last epoch.

    What only some trials have is left to `other`: a process needs all settings in all of them.

    Args:
        seed: Of this choice.
        other: The sampler of conditional settings.
        fits: Kept from choice to choice.
        order: The trials whose results are known, as they came in.
    """

    def __init__(
        self, seed: int, other: optuna.samplers.BaseSampler, fits: Fits, order: Sequence[int]
    ) -> None:
        self.chance, self.other = np.random.default_rng(seed), other
        self.fits, self.order = fits, order

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the settings that all trials have, of more than one value."""
        del trial
        common = optuna.search_space.intersection_search_space(
            study.get_trials(deepcopy=False), include_pruned=True
        )
        return {name: each for name, each in sorted(common.items()) if not each.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Space
    ) -> Params:
        """Return the candidate of the highest expected improvement; empty if nothing is known."""
        del trial
        with one_thread():
            return self._sampled(study, search_space)

    def _sampled(self, study: optuna.Study, search_space: Space) -> Params:
        if not search_space:
            return {}
        trials = study.get_trials(deepcopy=False)
        running = [t for t in trials if t.state == TrialState.RUNNING and _has(t, search_space)]
        over = [trials[place] for place in self.order if _told(trials[place], search_space)]
        known = over + [each for each in running if each.intermediate_values]
        if len(known) < FIRST_FIT:
            return {}
        tried = {_key(each.params, search_space) for each in trials}
        found = self._candidates(known, search_space)
        found = [each for each in found if _key(each, search_space) not in tried]
        if not found:
            return {}
        seen, last = looked_at(known), max(max(bests(each), default=1) for each in known)
        kernel = self.fits.kernel(known, search_space, last)
        curves = Curves(data_of(seen, search_space, last), kernel)
        if running:
            places = {each.number: place for place, each in enumerate(seen)}
            own = np.array([places.get(each.number, -1) for each in running])
            points = encoded([each.params for each in running], search_space)
            curves = _believing(curves, points, own, last)
        return found[int(np.argmax(_promise(curves, encoded(found, search_space), last)))]

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Leave a conditional setting, or one of too few trials, to the other sampler."""
        return self.other.sample_independent(study, trial, param_name, param_distribution)

    def _candidates(self, known: Sequence[FrozenTrial], space: Space) -> list[Params]:
        grids = [values_of(each) for each in space.values()]
        if math.prod(len(grid) if grid else SMALL + 1 for grid in grids) <= SMALL:
            return [dict(zip(space, p, strict=True)) for p in itertools.product(*grids)]
        drawn = [
            {n: value_at(self.chance.random(), d) for n, d in space.items()} for _ in range(DRAWN)
        ]
        leaders = sorted(known, key=lambda trial: -worth(trial))[:LEADERS]
        return drawn + [
            self._near(leaders[int(self.chance.integers(len(leaders)))].params, space)
            for _ in range(NEAR)
        ]

    def _near(self, params: Mapping[str, Any], space: Space) -> Params:
        """Return settings of which some differ a little, or are of another kind."""
        near = {}
        for name, each in space.items():
            near[name] = params[name]
            if self.chance.random() < 2 / (len(space) + 1):
                where = place(params[name], each) + STEP * self.chance.normal()
                kind = isinstance(each, CategoricalDistribution)
                where = self.chance.random() if kind else float(np.clip(where, 0, 1))
                near[name] = value_at(where, each)
        return near


def _promise(curves: Curves, points: Points, last: int) -> Any:
    """Return the expected improvement of new settings at the last epoch."""
    mean, spread = curves.predict(points, last, np.full(len(points), -1))
    return expected_improvement(mean, spread, _best(curves, last))


def _best(curves: Curves, last: int) -> float:
    """Return the best value at the last epoch that is known or believed, or else at any."""
    ends = curves.data.values[curves.data.epochs == last]
    return float((ends if len(ends) else curves.data.values).max())


def _believing(
    curves: Curves, running: Points, own: Int[np.ndarray, " trial"], last: int
) -> Curves:
    """Return a process that takes trials on their way for what it expects of them.

    `own` says which trials of the data they are; -1 for those without an epoch.
    """
    mean, _ = curves.predict(running, last, own)
    data, count = curves.data, len(running)
    new = int(data.trials.max()) + 1 + np.arange(count)
    more = Data(
        points=np.concatenate([data.points, running]),
        epochs=np.concatenate([data.epochs, np.full(count, float(last))]),
        trials=np.concatenate([data.trials, np.where(own < 0, new, own)]),
        values=np.concatenate([data.values, mean]),
    )
    return Curves(more, curves.kernel)


def _told(trial: FrozenTrial, space: Space) -> bool:
    known = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    valued = bool(trial.intermediate_values) or trial.value is not None
    return known and valued and _has(trial, space)


def _has(trial: FrozenTrial, space: Space) -> bool:
    return all(name in trial.params for name in space)


def _key(params: Mapping[str, Any], space: Space) -> tuple[Any, ...]:
    return tuple(params.get(name) for name in space)

"""The first trials: random, but spread evenly over each setting's range.

A Latin hypercube (McKay et al., Technometrics 21, 1979) of trials drawn one at a time: of n trials
each falls into another n-th of a range. Each setting is spread by itself, so a space may ask for
any settings, and which settings a trial has may depend on others.
"""

import zlib
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from drmn.search.samplers.unit_cube import from_quantile


class LatinHypercubeSampler(optuna.samplers.BaseSampler):
    """Draws trial `number` of a study.

    Args:
        seed: Seed of the study.
        number: Number of the trial.
        parts: Number of parts of each range; after as many trials a new hypercube starts.
    """

    def __init__(self, seed: int, number: int, parts: int) -> None:
        self.round, self.place = divmod(number, parts)
        self.seed, self.parts = seed, parts
        self.within = np.random.default_rng((seed, number))

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return nothing: each setting is drawn by itself."""
        del study, trial
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing, for the same reason."""
        del study, trial, search_space
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a value in this trial's part of a range; drawn again, in the same part."""
        del study, trial
        key = (self.seed, self.round, zlib.crc32(param_name.encode()))
        part = np.random.default_rng(key).permutation(self.parts)[self.place]
        return from_quantile(float(part + self.within.random()) / self.parts, param_distribution)

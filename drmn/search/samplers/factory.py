"""The sampler of a policy."""

import warnings
from collections.abc import Sequence

import optuna

from drmn.search.config import PolicyConfig
from drmn.search.samplers.latin_hypercube import LatinHypercubeSampler
from drmn.search.samplers.learning_curve_sampler import KernelCache, LearningCurveSampler


def make_sampler(
    config: PolicyConfig,
    seed: int,
    number: int,
    known: int,
    learnt: tuple[KernelCache, Sequence[int]] | None = None,
) -> optuna.samplers.BaseSampler:
    """Return the sampler for trial `number`.

    Chance depends on the seed and the number alone, so a resumed study draws what an uninterrupted
    one would have drawn; one sampler for a whole study would begin again with its first points.

    Args:
        config: Which sampler, and after how many trials it follows its model.
        seed: Of the study.
        number: Of the trial.
        known: The number of trials that it may learn from.
        learnt: For the sampler `curve-gp`: what it has fitted, and in which order trials came in.
    """
    if config.sampler != "random" and known < config.startup_trials:
        return LatinHypercubeSampler(seed, number, config.startup_trials)
    seed = 1_000_003 * seed + number
    if config.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        tpe = optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=config.startup_trials,
            multivariate=True,
            group=True,  # conditional spaces: each branch is modelled with its own parameters
            constant_liar=True,
        )
        if config.sampler == "tpe" or (config.second_objective and config.sampler == "curve-gp"):
            return tpe
        if config.sampler == "curve-gp":
            fits, order = learnt or (KernelCache(), ())
            return LearningCurveSampler(seed, tpe, fits, order)
        return optuna.samplers.GPSampler(
            seed=seed,
            independent_sampler=tpe,  # for what only some trials have: a GP needs all in all
            n_startup_trials=config.startup_trials,
        )

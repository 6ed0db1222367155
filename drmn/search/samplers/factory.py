"""Samplers by name, with the properties that the search needs to know."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from drmn.search.config import PolicyConfig, Sampler
from drmn.search.samplers.latin_hypercube import LatinHypercubeSampler
from drmn.search.samplers.learning_curve_sampler import KernelCache, LearningCurveSampler


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplerRequest:
    """Arguments of a sampler's constructor, for one trial."""

    seed: int
    """Seed of the trial."""
    startup_trials: int
    kernels: KernelCache = field(default_factory=KernelCache)
    """Kernels that the study has fitted so far."""
    order: Sequence[int] = ()
    """Trials in the order in which their results arrived."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplerSpec:
    """A sampler of `--policy.sampler`."""

    make: Callable[[SamplerRequest], BaseSampler]
    space_filling_start: bool = True
    """Whether the first `startup_trials` trials are a Latin hypercube's."""
    sees_pruned: bool = True
    """Whether it learns from PRUNED trials; otherwise it is given their last values as complete."""
    multi_objective: bool = True
    """Whether it models two objectives; otherwise `tpe` is used."""


def _tpe(request: SamplerRequest) -> TPESampler:
    return TPESampler(
        seed=request.seed,
        n_startup_trials=request.startup_trials,
        multivariate=True,
        group=True,  # conditional spaces: each branch is modelled with its own parameters
        constant_liar=True,
    )


def _gp(request: SamplerRequest) -> GPSampler:
    return GPSampler(
        seed=request.seed,
        independent_sampler=_tpe(request),  # for conditional settings, which a GP cannot model
        n_startup_trials=request.startup_trials,
    )


def _curve_gp(request: SamplerRequest) -> LearningCurveSampler:
    return LearningCurveSampler(request.seed, _tpe(request), request.kernels, request.order)


SAMPLERS: Mapping[Sampler, SamplerSpec] = {
    "curve-gp": SamplerSpec(make=_curve_gp, multi_objective=False),
    "tpe": SamplerSpec(make=_tpe),
    "gp": SamplerSpec(make=_gp, sees_pruned=False),
    "random": SamplerSpec(
        make=lambda request: RandomSampler(seed=request.seed), space_filling_start=False
    ),
}
"""The samplers of `--policy.sampler`."""


def sampler_spec(config: PolicyConfig) -> SamplerSpec:
    """Return the sampler of a policy: `tpe` if its own cannot model two objectives."""
    spec = SAMPLERS[config.sampler]
    return spec if spec.multi_objective or not config.second_objective else SAMPLERS["tpe"]


def make_sampler(
    config: PolicyConfig,
    seed: int,
    number: int,
    known: int,
    *,
    kernels: KernelCache | None = None,
    order: Sequence[int] = (),
) -> BaseSampler:
    """Return the sampler for trial `number`.

    Its randomness depends on the seed and the number alone, so a resumed study draws what an
    uninterrupted one would have drawn; one sampler for a whole study would start again with its
    first points.

    Args:
        config: Which sampler, and after how many trials it follows its model.
        seed: Seed of the study.
        number: Number of the trial.
        known: The number of trials that it may learn from.
        kernels: For `curve-gp`: kernels that were fitted so far.
        order: For `curve-gp`: the trials in the order in which their results arrived.
    """
    spec = sampler_spec(config)
    if spec.space_filling_start and known < config.startup_trials:
        return LatinHypercubeSampler(seed, number, config.startup_trials)
    request = SamplerRequest(
        seed=1_000_003 * seed + number,
        startup_trials=config.startup_trials,
        kernels=KernelCache() if kernels is None else kernels,
        order=order,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return spec.make(request)

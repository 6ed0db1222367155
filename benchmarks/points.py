"""Settings drawn from a space, for benchmarks that compare how they rank."""

import optuna

from drmn.config import RunConfig
from drmn.fields import with_overrides
from drmn.space import load


def points(count: int, epochs: int) -> list[RunConfig]:
    """Return settings drawn from the space of CUB."""
    space = load("cub")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = []
    for _ in range(count):
        trial = study.ask()
        constants = {**space(trial), "optim.epochs": epochs}
        drawn.append(with_overrides(RunConfig(), {**trial.params, **constants}))
    return drawn

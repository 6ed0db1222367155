"""Forecast of a search's epochs, time and disk space: trials simulated from timed steps."""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from drmn.search.budget.step_timing import Sample
from drmn.search.config import Budget, PolicyConfig
from drmn.search.pruners.factory import StudyPruner, make_pruner

MACHINE = 0.15
"""Standard deviation of the logarithm of the ratio of a search's epoch times to the timed ones:
the ratio was 0.97 to 1.34 in six small studies, 1.04 in the geometric mean (2026-11-27)."""
GAP_TO_BEST = 0.3
"""How far a setting near the best is behind it, in standard deviations of random settings: with
this, 24 trials take the epochs that they took in replays of recorded trials."""
ROUNDS = 200
"""Simulated searches."""
AGREEMENT = (0.69, 0.83, 0.94)
"""Rank correlation of epochs 1, 3 and 9 with the end, in 384 recorded trials."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Costs of simulated searches: one number per search."""

    epochs: Sequence[float]
    complete: Sequence[float]
    """Trials that were trained to the end."""
    worker_hours: Sequence[float]
    hours: Sequence[float]
    """Wall-clock hours."""
    megabytes: Sequence[float]
    """Megabytes of checkpoints."""


def quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return P10, P50 and P90."""
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9)).tolist()
    return low, middle, high


def forecast(
    samples: Sequence[Sample], policy: PolicyConfig, budget: Budget, at_once: int
) -> Forecast:
    """Simulate searches whose trials cost what the samples do, with their pruner.

    The first trials are the samples themselves, the others resemble any sample or the best so far.
    A trial's final value is drawn, and its value at a rung correlates with that as in recorded
    trials. The spread covers luck with settings and with pruning, and a machine that is not as fast
    as when steps were timed; how much parallel trials slow each other down is not in it.
    """
    chance = np.random.default_rng(0)
    rounds = [_round(samples, policy, budget, at_once, chance) for _ in range(ROUNDS)]
    return Forecast(*zip(*rounds, strict=True))


def _round(
    samples: Sequence[Sample],
    policy: PolicyConfig,
    budget: Budget,
    at_once: int,
    chance: np.random.Generator,
) -> tuple[float, float, float, float, float]:
    """Return epochs, complete trials, worker hours, hours and megabytes of one search."""
    pruner = make_pruner(policy)
    free = [0.0] * at_once
    pace = math.exp(MACHINE * chance.normal()) / 3600
    epochs, complete, worked, kept = 0, 0, 0.0, 0.0
    found: list[tuple[float, Sample]] = []
    for number in range(budget.trials):
        if _spent(budget, epochs, worked):
            break
        worth, sample = _chosen(number, samples, found, policy, chance)
        most = sample.config.optim.epochs
        last = min(most - 1, int(policy.last_rung * most))
        rungs = filter(pruner.is_rung, range(1, last + 1))
        trained = _stopped(rungs, pruner, number, worth, chance) or most
        found.append((worth, sample))
        took = trained * sample.epoch * pace
        epochs, worked = epochs + trained, worked + took
        complete += trained == most
        kept += sample.bytes
        heapq.heappush(free, heapq.heappop(free) + took)
    if budget.checkpoint_mb:
        kept = min(kept, max(1e6 * budget.checkpoint_mb, sample.bytes))
    return epochs, complete, worked, max(free), kept / 1e6


def _spent(budget: Budget, epochs: int, hours: float) -> bool:
    return bool(
        (budget.epochs and epochs >= budget.epochs)
        or (budget.worker_hours and hours >= budget.worker_hours)
        or (budget.money and hours * budget.price >= budget.money)
    )


def _chosen(
    number: int,
    samples: Sequence[Sample],
    found: Sequence[tuple[float, Sample]],
    policy: PolicyConfig,
    chance: np.random.Generator,
) -> tuple[float, Sample]:
    """Return a trial's final value, in standard deviations, and the sample that has its cost.

    The more a sampler knows, the more often a trial resembles the best so far, in its costs too,
    and the fewer are stopped.
    """
    learnt = 0.0 if policy.sampler == "random" else 1 - policy.startup_trials / (number + 1)
    if found and chance.random() < learnt:
        best, sample = max(found, key=lambda each: each[0])
        return best - GAP_TO_BEST * abs(chance.normal()), sample
    place = number if number < len(samples) else int(chance.integers(len(samples)))
    return chance.normal(), samples[place]


def _stopped(
    rungs: Iterable[int],
    pruner: StudyPruner,
    number: int,
    worth: float,
    chance: np.random.Generator,
) -> int | None:
    """Return the rung at which a trial is stopped, or None if it passes all."""
    for epoch in rungs:
        agreement = AGREEMENT[min(round(math.log(epoch, 3)), len(AGREEMENT) - 1)]
        shown = worth + math.sqrt(agreement**-2 - 1) * chance.normal()
        if pruner.should_prune(number, epoch, shown):
            return epoch
    return None

"""What a search will take, told before anything is spent: measured steps, simulated trials."""

import heapq
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from drmn.config import RunConfig
from drmn.data.development import Development, Split
from drmn.search.halving import Halving, Hyperband, stopper
from drmn.search.policy import Adviser
from drmn.search.settings import Budget, PolicyConfig
from drmn.space import Space, ask, baseline, settings
from drmn.train import assemble
from drmn.trainer import Trainer
from drmn.validate import validate

BATCHES = 3
"""Steps that are timed of a setting, after as many to warm up."""
SETTINGS = 12
"""Settings that are timed at most."""
NEAR = 0.3
"""How far a setting like the best is behind it, in standard deviations of settings drawn by chance:
so 24 trials take the epochs that they took in replays of recorded trials."""
ROUNDS = 200
"""Simulated searches."""
AGREEMENT = (0.69, 0.83, 0.94)
"""Rank correlation of epochs 1, 3 and 9 with the end, in 384 recorded trials."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A setting whose steps were timed."""

    config: RunConfig
    epoch: float
    """Seconds of an epoch, its validation included."""
    bytes: int
    """Of its checkpoint."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What simulated searches took: one number a search."""

    epochs: Sequence[float]
    complete: Sequence[float]
    """Trials that were trained to the end."""
    worker_hours: Sequence[float]
    hours: Sequence[float]
    """On the wall."""
    megabytes: Sequence[float]
    """Of checkpoints."""


def quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return P10, P50 and P90."""
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9)).tolist()
    return low, middle, high


def points(space: Space, base: RunConfig, seed: int) -> Iterator[RunConfig]:
    """Yield the baseline, then points of chance."""
    chance, number = Adviser(PolicyConfig(sampler="random"), seed), 0
    while True:
        trial = chance.ask(number, [], first=None if number else baseline(space, base))
        yield settings(base, ask(space, trial), trial.params)
        number += 1


def measure(
    drawn: Iterator[RunConfig],
    opened: Callable[[RunConfig], Development],
    *,
    seconds: float,
    device: str = "cpu",
) -> list[Sample]:
    """Time a few steps of each setting until `seconds` are over; of one setting at least."""
    until, samples = time.monotonic() + seconds, list[Sample]()
    while not samples or (time.monotonic() < until and len(samples) < SETTINGS):
        config = next(drawn)
        samples.append(_timed(config, opened(config), device))
    return samples


def _timed(config: RunConfig, data: Development, device: str) -> Sample:
    few = BATCHES * config.optim.batch_size
    train, seen, unseen = (_few(s, few) for s in (data.train, data.val_seen, data.val_unseen))
    part = Development(
        classes=data.classes, train=train, val_seen=seen, val_unseen=unseen, digest=data.digest
    )
    network = assemble(config, part).to(device)
    trainer = Trainer(config, network, part)
    trainer.begin()
    trainer.epoch(1)
    training = _seconds(lambda: trainer.epoch(2)) * len(data.train) / len(part.train)
    images, judged = (len(each.val_seen) + len(each.val_unseen) for each in (data, part))
    judging = _seconds(lambda: validate(config, network, part)) * images / judged
    size = sum(weight.numel() * weight.element_size() for weight in network.state_dict().values())
    return Sample(config, training + judging, size)


def _few(split: Split, count: int) -> Split:
    """Return images from all over a split: it is in the order of classes."""
    chosen = torch.linspace(0, len(split) - 1, min(count, len(split))).long()
    return replace(split, rows=split.rows[chosen], labels=split.labels[chosen])


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def forecast(
    samples: Sequence[Sample], policy: PolicyConfig, budget: Budget, at_once: int
) -> Forecast:
    """Simulate searches whose trials cost what the samples do, stopped as they would be.

    What a trial is worth is drawn, and what it shows at a rung agrees with that as well as it did
    in trials that were recorded. So the spread is that of luck with settings and with pruning; a
    machine that is busier than it was when steps were timed is not in it.
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
    halving = stopper(policy)
    free = [0.0] * at_once
    epochs, complete, worked, kept = 0, 0, 0.0, 0.0
    found: list[tuple[float, Sample]] = []
    for number in range(budget.trials):
        if _spent(budget, epochs, worked):
            break
        worth, sample = _chosen(number, samples, found, policy, chance)
        most = sample.config.optim.epochs
        trained = most
        if policy.pruner != "none":
            trained = _trained(most, halving, number, worth, chance)
        found.append((worth, sample))
        epochs, worked = epochs + trained, worked + trained * sample.epoch / 3600
        complete += trained == most
        kept += sample.bytes
        heapq.heappush(free, heapq.heappop(free) + trained * sample.epoch / 3600)
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
    """Return what a trial is worth and what it costs.

    The more a sampler knows, the more often a trial is like the best so far, in its costs too, and
    the fewer are stopped.
    """
    learnt = 0.0 if policy.sampler == "random" else 1 - policy.startup_trials / (number + 1)
    if found and chance.random() < learnt:
        best, sample = max(found, key=lambda each: each[0])
        return best - NEAR * abs(chance.normal()), sample
    return chance.normal(), samples[int(chance.integers(len(samples)))]


def _trained(
    most: int,
    halving: Halving | Hyperband,
    number: int,
    worth: float,
    chance: np.random.Generator,
) -> int:
    """Return how many epochs a trial is trained before it is stopped."""
    for epoch in range(1, most):
        if not halving.is_rung(epoch):
            continue
        agreement = AGREEMENT[min(round(math.log(epoch, 3)), len(AGREEMENT) - 1)]
        shown = worth + math.sqrt(agreement**-2 - 1) * chance.normal()
        if halving.stops(number, epoch, shown):
            return epoch
    return most


def spread(samples: Sequence[Sample]) -> tuple[float, float, float]:
    """Return the shortest, the median and the longest epoch that was measured, in seconds."""
    seconds = [sample.epoch for sample in samples]
    return min(seconds), statistics.median(seconds), max(seconds)

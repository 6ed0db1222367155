"""Cost of settings: some steps of each are timed, on this machine."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch

from drmn.config import RunConfig
from drmn.data.splits.development import Development, Split
from drmn.evaluation.validation import validate
from drmn.search.study.ask_tell import AskTellStudy
from drmn.training.loop import assemble
from drmn.training.trainer import Trainer

BATCHES = 3
"""Steps that are timed for each setting, after as many to warm up."""
SETTINGS = 12
"""Maximum number of settings that are timed."""
TIMES = 3
"""How often each is timed while there is time; the median counts."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A setting whose steps were timed."""

    config: RunConfig
    epoch: float
    """Seconds of an epoch, its validation included."""
    bytes: int
    """Size of its checkpoint."""


def points(study: AskTellStudy) -> Iterator[RunConfig]:
    """Yield the settings that a study tries while no result is known, in their order.

    Args:
        study: A new one in memory, as the settings are recorded in it.
    """
    while (point := study.ask()) is not None:
        yield point.config


def measure(
    drawn: Iterator[RunConfig],
    opened: Callable[[RunConfig], Development],
    *,
    seconds: float,
    device: str = "cpu",
) -> list[Sample]:
    """Time a few steps of each setting until `seconds` are over; at least one setting.

    Each once, then all again: a moment in which the machine is slow does not hit one setting alone.
    """
    until = time.monotonic() + seconds
    timed: list[tuple[RunConfig, list[Sample]]] = [(run, []) for run in islice(drawn, SETTINGS)]
    for config, samples in TIMES * timed:
        samples.append(_timed(config, opened(config), device))
        if time.monotonic() > until:
            break
    return [
        replace(samples[0], epoch=statistics.median(each.epoch for each in samples))
        for _, samples in timed
        if samples
    ]


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


def spread(samples: Sequence[Sample]) -> tuple[float, float, float]:
    """Return the shortest, the median and the longest epoch that was measured, in seconds."""
    seconds = [sample.epoch for sample in samples]
    return min(seconds), statistics.median(seconds), max(seconds)

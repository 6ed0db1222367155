"""How optimistic a search's best H is: nested divisions of the validation classes.

Settings drawn from the space of CUB are trained on cub2010_dev (real photos) and the logits of each
epoch are kept. Then the validation classes are halved many times, and the held-out images of seen
classes too: trial, epoch, formula, beta, gamma and delta are chosen together for the highest H on
one half, as a search chooses them, and that choice is judged on the other half, which no choice
saw. The difference is what a search of so many trials claims too much; with half as many
validation classes it is larger than with all of them, by about the root of two.
"""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from bars import Bar, arguments, finish
from points import points
from pool import processes
from quality import store_of
from torch import Tensor

from drmn.config import FORMULAS, RunConfig
from drmn.data.splits import development
from drmn.evaluation import calibration
from drmn.evaluation.ensemble import Rule, choose_rule
from drmn.evaluation.validation import Predictions, predict
from drmn.fields import with_overrides
from drmn.training.loop import assemble
from drmn.training.trainer import Trainer

DIVISIONS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """Images and classes of a half of the validation data."""

    images: Tensor
    kept: Tensor
    """Which classes are candidates."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a search chooses, and its H where it was chosen."""

    trial: int
    epoch: int
    rule: Rule
    value: float


def epochs(config: RunConfig, store: Path) -> list[Predictions]:
    """Return the logits of the validation images after each epoch."""
    data = development.open_store(store, levels=config.model.levels)
    network = assemble(config, data)
    trainer = Trainer(config, network, data)
    trainer.begin()
    found = []
    for epoch in range(1, config.optim.epochs + 1):
        trainer.epoch(epoch)
        made = predict(config, trainer.validated, [data.val_seen, data.val_unseen], data.classes)
        found.append(made)
    return found


def halves(labels: Tensor, seen: Tensor, seed: int) -> tuple[Half, Half]:
    """Return a random division of unseen classes and of images of seen classes."""
    chance = torch.Generator().manual_seed(seed)
    unseen = torch.arange(len(seen))[~seen]
    order = unseen[torch.randperm(len(unseen), generator=chance)]
    coin = torch.rand(len(labels), generator=chance) < 0.5
    made = []
    for mine, side in ((order[::2], coin), (order[1::2], ~coin)):
        kept = seen.clone()
        kept[mine] = True
        made.append(Half((seen[labels] & side) | (~seen & kept)[labels], kept))
    return made[0], made[1]


def chosen(trial: int, made: Sequence[Predictions], half: Half, seen: Tensor) -> Choice:
    """Return a trial's choice of the highest H on a half, over epochs and formulas."""
    best = Choice(trial, 0, Rule(), -1.0)
    for epoch, whole in enumerate(made):
        own = whole.restricted(half.images, half.kept)
        for formula in FORMULAS:
            rule, leads = choose_rule(
                formula, own.class_logits, own.global_logits, own.labels, seen[half.kept]
            )
            value = calibration.at(leads, rule.gamma).harmonic
            if value > best.value:
                best = Choice(trial, epoch, rule, value)
    return best


def judged(choice: Choice, whole: Predictions, half: Half, seen: Tensor) -> float:
    """Return H of a choice on a half."""
    own, known = whole.restricted(half.images, half.kept), seen[half.kept]
    scores = replace(choice.rule, gamma=0.0).scores(own.class_logits, own.global_logits, known)
    leads = calibration.reduce(scores, own.labels, known)
    return calibration.at(leads, choice.rule.gamma).harmonic


def main() -> None:
    """Measure, print and judge."""
    asked = arguments(__doc__ or "")
    photos, trials, count = ("cub2010_mini", 2, 2) if asked.quick else ("cub2010_dev", 12, 6)
    store = store_of(photos, 224)[0]
    # The transformer takes no part in a prediction, and most of a step.
    runs = [with_overrides(each, {"model.sit": "none"}) for each in points(trials, count)]
    with processes() as pool:
        made = [each.result() for each in [pool.submit(epochs, run, store) for run in runs]]
        seen = development.open_store(store).classes.seen
        labels = made[0][0].labels
        both = [halves(labels, seen, seed) for seed in range(1 if asked.quick else DIVISIONS)]
        waiting = [
            (other, [pool.submit(chosen, k, each, one, seen) for k, each in enumerate(made)])
            for pair in both
            for one, other in (pair, pair[::-1])
        ]
        pairs = []
        for other, of_trials in waiting:
            choice = max((each.result() for each in of_trials), key=lambda found: found.value)
            fresh = judged(choice, made[choice.trial][choice.epoch], other, seen)
            pairs.append((100 * choice.value, 100 * fresh))
            print(f"{choice}: {choice.value:.3f} {fresh:.3f}", file=sys.stderr, flush=True)
    gaps = [high - low for high, low in pairs]
    figures = {
        "trials, epochs of each": f"{trials}, {count}",
        "H where it was chosen": round(statistics.mean(high for high, _ in pairs), 1),
        "H on the other half": round(statistics.mean(low for _, low in pairs), 1),
        "optimism, points of H": round(statistics.mean(gaps), 1),
        "its spread over divisions": round(statistics.stdev(gaps), 1),
    }
    most = 100.0 if asked.quick else 6.0
    bar = Bar("optimism, points of H", statistics.mean(gaps), most, least=False)
    finish(figures, [bar], asked.json)


if __name__ == "__main__":
    main()

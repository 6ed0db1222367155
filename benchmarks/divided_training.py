"""Trainings on divisions of classes and images, judged on what they did not see."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from quality import SETTINGS
from torch import Tensor

from drmn.config import RunConfig
from drmn.data.splits import development
from drmn.data.splits.development import Classes, Development, Split
from drmn.data.splits.division import HELD_OUT, SplitPart
from drmn.evaluation.validation import Predictions, predict
from drmn.fields import with_overrides
from drmn.space import Value
from drmn.training.loop import assemble
from drmn.training.trainer import Trainer

DRAWS, PARTS = 3, 3
"""Inner divisions of the classes, and parts of the images, that are held out in turn."""
PLAIN: dict[str, Value] = {"model.sit": "none"}
"""The transformer takes no part in a prediction, and most of a step."""
DEMO: dict[str, Value] = {"model.scale": 3.0, "optim.batch_size": 16, "optim.epochs": 12}
"""Few classes are learnt by heart with sharp logits, and few images with few steps."""


@dataclass(frozen=True, slots=True)
class Task:
    """A training: on the images of an outer division, or of a part of them."""

    store: Path
    fold: int
    """The outer division; 0 for the official test split."""
    seed: int
    draw: int = -1
    """Number of the inner division whose validation classes are held out; -1 for none."""
    part: int = -1
    """Third of the images that is held out; -1 for none."""


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """Logits of a trained network, for images that it was not trained on."""

    found: Predictions
    classes: Classes


def config_of(task: Task) -> RunConfig:
    """Return the settings of a training."""
    own = DEMO if task.store.name.startswith("demo") else {}
    return replace(with_overrides(RunConfig(), SETTINGS | PLAIN | own), seed=task.seed)


def trained(task: Task) -> Made:
    """Train to the last epoch, and return the logits of the held-out images."""
    torch.set_num_threads(1)
    config, data = config_of(task), outer(task)
    if task.draw >= 0:
        data = inner(data, len(data.classes.names) - int(data.classes.seen.sum()), task.draw)
    if task.part >= 0:
        data = held_out(data, task.part)
    network = assemble(config, data)
    trainer = Trainer(config, network, data)
    trainer.begin()
    for epoch in range(1, config.optim.epochs + 1):
        trainer.epoch(epoch)
    judged = [data.val_seen, data.val_unseen] if task.part < 0 else [data.val_seen]
    return Made(predict(config, network, judged, data.classes), data.classes)


def outer(task: Task) -> Development:
    """Return an outer division, its unseen classes and held-out images as validation images."""
    data = development.open_store(
        task.store, fold=task.fold or 1, levels=str(SETTINGS["model.levels"])
    )
    if task.fold:
        return data
    official = torch.load(task.store.parent / f"{task.store.name}.split")
    parts = (data.train, data.val_seen, data.val_unseen)
    rows, labels = (torch.cat([getattr(p, n) for p in parts]) for n in ("rows", "labels"))
    order = rows.argsort()
    of_row = official[rows[order]]

    def split(which: int, part: SplitPart) -> Split:
        mine = order[of_row == which]
        return replace(data.train, rows=rows[mine], labels=labels[mine], part=part)

    made = (split(0, "train"), split(1, "val"), split(2, "val"))
    return Development(data.classes, *made, data.digest)


def inner(data: Development, unseen: int, draw: int) -> Development:
    """Return a division of the seen classes, with a third of them for validation."""
    chance = torch.Generator().manual_seed(1_000 + draw)
    count = int(data.classes.seen.sum())
    held = torch.randperm(count, generator=chance)[: min(unseen, count // 3)]
    kept = torch.tensor([c for c in range(count) if c not in set(held.tolist())])
    order = torch.cat([kept, held])
    place = torch.empty(count, dtype=torch.long).scatter_(0, order, torch.arange(count))
    classes = replace(
        data.classes,
        names=tuple(data.classes.names[c] for c in order),
        attributes=data.classes.attributes[order],
        seen=torch.arange(count) < len(kept),
    )
    labels = place[data.train.labels]
    known = labels < len(kept)
    out = (torch.rand(len(labels), generator=chance) < HELD_OUT) & known

    def split(mask: Tensor, part: SplitPart) -> Split:
        return replace(data.train, rows=data.train.rows[mask], labels=labels[mask], part=part)

    made = (split(known & ~out, "train"), split(out, "val"), split(~known, "val"))
    return Development(classes, *made, data.digest)


def held_out(data: Development, part: int) -> Development:
    """Return a division with a part of the training images held out."""
    chance = torch.Generator().manual_seed(2_000)
    which = torch.randperm(len(data.train), generator=chance) % PARTS

    def split(mask: Tensor, name: SplitPart) -> Split:
        train = data.train
        return replace(train, rows=train.rows[mask], labels=train.labels[mask], part=name)

    made = (split(which != part, "train"), split(which == part, "val"), data.val_unseen)
    return Development(data.classes, *made, data.digest)

"""The training loop, as a stream of epochs.

`fit` reports nothing and saves nothing. It yields after each epoch, and the caller decides what to
do with it: a trial reports it to Ray, a test checks it. To stop early, stop iterating.

With several workers (`drmn.distributed`) each runs this loop. A batch is that of all of them, and
the loss is taken over all its images, so the result does not depend on their number.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from drmn.config import RunConfig
from drmn.data.splits.development import Classes, Development, Fold, Images
from drmn.errors import ConfigError
from drmn.evaluation.validation import validate
from drmn.level_names import LevelName
from drmn.model.backbone import Backbone
from drmn.model.finetuned import FinetunedNetwork, Network
from drmn.model.network import DRMN
from drmn.training.checkpoint import State
from drmn.training.standardization import moments_of
from drmn.training.stop import ShouldStop, never_stop
from drmn.training.trainer import Trainer

LAST_EPOCH = "train/epoch"
"""Metric of a refit: the number of the epoch."""
JOB = "jobs/train.py --tier finetuned, or --policy.finetune in a search"


@dataclass(frozen=True, slots=True)
class Epoch:
    """Result of an epoch."""

    number: int
    """Epochs finished, this one included."""
    metrics: dict[str, float]
    """Losses, gradient norm and learning rates (`loss/`, `train/`), validation metrics (`val/`):
    all that does not depend on how busy the machine is."""
    state: State
    """All that `fit` needs to resume from here. Live: save it before iterating further."""
    costs: dict[str, float]
    """Costs of training (`cost/`): seconds, images per second, peak memory of a GPU in MiB."""


def build_head(config: RunConfig, classes: Classes, channels: Mapping[LevelName, int]) -> DRMN:
    """Return an untrained network on maps; its weights depend on the seed alone."""
    torch.manual_seed(config.seed)
    return DRMN(
        config.model,
        channels,
        attributes=classes.attributes.shape[1],
        seen=int(classes.seen.sum()),
        words=classes.words,
    )


def assemble(config: RunConfig, data: Fold[Images], backbone: Backbone | None = None) -> Network:
    """Return an untrained network for `data`: on stored maps, or with the backbone below it.

    Raises:
        ConfigError: The tier is not that of the data.
    """
    if backbone is None:
        if config.tier != "frozen" or not isinstance(data, Development):
            raise ConfigError(f"tier {config.tier}: a search has stored features; use {JOB}.")
        head = build_head(config, data.classes, data.channels)
        if config.model.normalize:
            head.standardize_by(moments_of(data.train, head.levels))
        return head
    return FinetunedNetwork(backbone, build_head(config, data.classes, backbone.channels))


def fit(
    config: RunConfig,
    data: Fold[Images],
    *,
    backbone: Backbone | None = None,
    resume: State | None = None,
    device: str = "cpu",
    leave: ShouldStop = never_stop,
) -> Iterator[Epoch]:
    """Train and yield each epoch, from the first or from where `resume` left off.

    Args:
        config: The settings; `data` holds the fold already.
        data: The images, in a store or as photos.
        backbone: For photos: the backbone to fine-tune.
        resume: The state of an epoch of the same settings, or of a part of one.
        device: Where to train.
        leave: Called after each step; True stops training.

    Raises:
        PreemptedError: `leave` returned True within an epoch; its `state` is a `resume`.
    """
    network = assemble(config, data, backbone).to(device)
    trainer = Trainer(config, network, data)
    done = trainer.begin(resume)
    for number in range(done + 1, config.optim.epochs + 1):
        trained, costs = _measured(trainer, number, leave)
        metrics = trained | _judged(config, trainer, data, number)
        yield Epoch(number, metrics, trainer.state(number), costs)


def _judged(
    config: RunConfig, trainer: Trainer, data: Fold[Images], number: int
) -> dict[str, float]:
    """Return the validation metrics of an epoch; of a refit the epoch's number alone.

    A refit has no validation classes, and nothing is judged by test images while it trains: its
    last epoch is kept, which is that of the highest `train/epoch`.
    """
    if data.val_unseen.part == "test":
        return {LAST_EPOCH: float(number)}
    return validate(config, trainer.validated, data)


def _measured(
    trainer: Trainer, number: int, leave: ShouldStop = never_stop
) -> tuple[dict[str, float], dict[str, float]]:
    """Train an epoch; return its metrics and costs."""
    gpu = trainer.device if trainer.device.type == "cuda" else None
    if gpu is not None:
        torch.cuda.reset_peak_memory_stats(gpu)
    trained = trainer.epoch(number, leave)
    seconds, images = trainer.seconds, len(trainer.data.train)
    costs = {"cost/seconds": seconds, "cost/images_per_second": images / seconds}
    if gpu is not None:
        costs["cost/device_memory_mb"] = torch.cuda.max_memory_allocated(gpu) / 2**20
    return trained, costs

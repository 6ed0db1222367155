"""An epoch of training: steps on batches, each the whole batch of all workers."""

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from drmn import distributed
from drmn.config import RunConfig
from drmn.data.splits.development import Batch, Fold, Images, Split
from drmn.data.splits.epoch_rng import EpochRng
from drmn.data.splits.photos import Photographs
from drmn.model.finetuned import FinetunedNetwork, Network
from drmn.training import autotune
from drmn.training.autotune import TrainStepMode
from drmn.training.checkpoint import State
from drmn.training.losses import total
from drmn.training.optimizer import (
    MicroBatch,
    after_steps,
    micro_batches,
    moving_average,
    optimizer_of,
    set_learning_rates,
)
from drmn.training.partial_epoch import PartialEpoch, averaged
from drmn.training.stop import PreemptedError, ShouldStop, never_stop

TEST_IMAGES = 4
"""Images that autotuning steps on: costs that grow with the square of their number, as the pairs of
tokens of "joint" do, weigh less there than in a step of a batch."""


class Trainer:
    """A network in training.

    Args:
        config: The settings.
        network: The network, trained in place.
        data: The images that it is trained on.
    """

    def __init__(self, config: RunConfig, network: Network, data: Fold[Images]) -> None:
        self.config, self.network = config, network
        self.data = data if config.optim.views else _plain(data)
        self.optimizer = optimizer_of(config, network)
        self.average = moving_average(network, config.optim.averaging)
        self.device = next(network.parameters()).device
        self.classes = data.classes.to(self.device)
        self.way = TrainStepMode()
        self.part = PartialEpoch()
        """Part of an epoch that was loaded to be resumed; empty otherwise."""
        self.seconds = 0.0
        """Seconds that the last epoch took, those before a preemption included."""

    def begin(self, state: State | None = None) -> int:
        """Load a state, or choose a step mode; return the number of finished epochs."""
        if state is None:
            self.way = self._chosen()
        else:
            weights = state["model"]
            if self.average is not None:
                self.average.module.load_state_dict(weights)
                self.average.n_averaged.fill_(state["averaged"])
                weights = state["trained"]
            self.network.load_state_dict(weights)
            self.optimizer.load_state_dict(state["optimizer"])
            self.way = TrainStepMode(**state["way"])
            self.part = self._loaded(state.get("part", {}))
        if isinstance(self.network, FinetunedNetwork):
            self.network.configure(self.config.compute)
        return 0 if state is None else int(state["number"])

    @property
    def validated(self) -> Network:
        """The network to validate and keep: that in training, or the moving average of it."""
        if self.average is None:
            return self.network
        module: Network = self.average.module  # type: ignore[assignment] # a copy of the network
        return module

    def state(self, number: int) -> State:
        """Return all that is needed to resume after epoch `number`. Live.

        `model` has the weights to keep. Where they are a moving average, `trained` has those in
        training, and `averaged` the number of steps.
        """
        state: State = {"model": self.validated.state_dict()}
        if self.average is not None:
            state["trained"] = self.network.state_dict()
            state["averaged"] = int(self.average.n_averaged)
        state["optimizer"] = self.optimizer.state_dict()
        return state | {"number": number, "way": asdict(self.way)}

    def epoch(self, number: int, leave: ShouldStop = never_stop) -> dict[str, float]:
        """Train on each image once; resume a part of an epoch that `begin` loaded.

        Returns each loss term averaged over the images, the mean norm of the gradient, and the
        learning rates at the end.

        Raises:
            PreemptedError: `leave` returned True after a step that was not the last.
        """
        began = time.perf_counter()
        self.network.train()
        run, chance = self._spread(number), EpochRng(self.config.seed, number)
        train, optim = self.data.train, self.config.optim
        order = chance.order(train.labels, optim.sampling)
        todo = micro_batches(order, optim.batch_size, self.config.compute.micro_batch)
        part, self.part = self.part, PartialEpoch()
        self._draw(part, chance)
        left = after_steps(todo, len(part.norms))
        stream = train.stream([distributed.share(piece.images) for piece in left], chance)
        rate = set_learning_rates(
            self.config, self.optimizer, number, sum(piece.last for piece in todo)
        )
        for _ in part.norms:
            next(rate)
        for piece, own in zip(left, stream, strict=True):
            part.terms.append(self._backward(run, piece, own))
            part.sizes.append(len(piece.images))
            if piece.last:
                next(rate)
                part.norms.append(self._step())
                if piece is not todo[-1] and leave():
                    part.seconds += time.perf_counter() - began
                    raise PreemptedError(self.state(number - 1) | {"part": self._saved(part)})
        lengths = {"train/grad_norm": float(torch.stack(part.norms).mean())}
        self.seconds = part.seconds + time.perf_counter() - began
        groups = self.optimizer.param_groups
        now = {f"train/lr_{group['name']}": float(group["lr"]) for group in groups}
        return averaged(part) | lengths | now

    def _draw(self, part: PartialEpoch, chance: EpochRng) -> None:
        """Set torch's generators to the start of an epoch, or to the end of a loaded part."""
        chance.begin()
        if distributed.rank() < len(part.chance):
            mine = part.chance[distributed.rank()]
            torch.set_rng_state(mine["cpu"])
            if "cuda" in mine:
                torch.cuda.set_rng_state(mine["cuda"], self.device)

    def _loaded(self, saved: Mapping[str, Any]) -> PartialEpoch:
        """Return a part of an epoch from a checkpoint."""
        part = PartialEpoch(**saved)
        part.terms = [{k: v.to(self.device) for k, v in each.items()} for each in part.terms]
        part.norms = [norm.to(self.device) for norm in part.norms]
        return part

    def _saved(self, part: PartialEpoch) -> dict[str, Any]:
        """Return a part of an epoch for a checkpoint; collective: every worker must call it."""
        mine: State = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            mine["cuda"] = torch.cuda.get_rng_state(self.device)
        return asdict(part) | {"chance": distributed.collect(mine)}

    def _backward(self, run: nn.Module, piece: MicroBatch, own: Batch) -> dict[str, Tensor]:
        """Add this worker's gradient of a micro-batch's loss; return the loss terms."""
        if isinstance(run, DistributedDataParallel):
            run.require_backward_grad_sync = piece.last
        labels = self.data.train.labels[piece.images].to(self.device)
        loss, terms = self._loss(run, own, labels, self.way)
        # Every worker takes the whole loss and owns the gradient of its rows; DDP takes the mean.
        (loss * piece.share * distributed.world()).backward()
        return {name: term.detach() for name, term in {"total": loss, **terms}.items()}

    def _loss(
        self, run: nn.Module, own: Batch, labels: Tensor, way: TrainStepMode
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the images of all workers, and its terms, in float32."""
        there = own.to(self.device)
        with way.applied(self.device):
            scores = run(there.inputs)
        joined = scores.each(lambda part: distributed.join(part.float()))
        loss, terms = total(self.config.loss, self.config.model, joined, self.classes, labels)
        return loss, dict(terms)

    def _step(self) -> Tensor:
        """Take a step; return the norm of the gradient."""
        grads = [weight.grad for weight in self.network.parameters() if weight.grad is not None]
        length: Tensor = nn.utils.get_total_norm(grads)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        self.optimizer.zero_grad(set_to_none=True)
        return length

    def _spread(self, epoch: int) -> nn.Module:
        """Return the module to call: the network, or a DDP of it that averages gradients."""
        if isinstance(self.network, FinetunedNetwork):
            self.network.unfreeze(epoch, self.config.finetune.unfreeze_every)
        if distributed.world() == 1:
            return self.network
        return DistributedDataParallel(self.network, forward_sync_buffers=False)

    def _chosen(self) -> TrainStepMode:
        """Return the step mode of the first worker's test on a few images."""
        images = self.data.train
        (few,) = images.stream([torch.arange(min(TEST_IMAGES, len(images)))])
        labels = few.labels.to(self.device)
        self.network.train()
        if isinstance(self.network, FinetunedNetwork):  # most steps go through all of the backbone
            self.network.unfreeze(1, every=0)

        def step(copy: nn.Module, way: TrainStepMode) -> None:
            self._loss(copy, few, labels, way)[0].backward()

        with distributed.alone():
            chosen = autotune.autotune(
                self.config.compute,
                self.network,
                step,
                times=self.config.optim.epochs * len(images) / len(labels),
                pairs=self._pairs(),
            )
        return TrainStepMode(*distributed.collect((chosen.precision, chosen.attention))[0])

    def _pairs(self) -> int:
        """Return how many pairs of tokens attend to each other in a step, all heads together."""
        images, attributes = self.config.optim.batch_size, self.classes.attributes.shape[1]
        tokens = {
            "none": 0,
            "attr": images * attributes**2,
            "batch": attributes * images**2,
            "joint": (images * attributes) ** 2,
        }
        return tokens[self.config.model.sit] * self.config.model.sit_heads


def _plain(data: Fold[Images]) -> Fold[Images]:
    """Return a fold whose training images are seen without augmentation."""
    train = data.train
    if isinstance(train, Split):
        return replace(data, train=replace(train, views=0))
    if isinstance(train, Photographs):
        return replace(data, train=replace(train, augment="none"))
    return data

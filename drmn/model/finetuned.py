"""Backbone and head as one network, for the finetuned tier."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from drmn.config import ComputeConfig
from drmn.errors import ConfigError
from drmn.level_names import CLS, LevelName
from drmn.model.backbone import Backbone
from drmn.model.network import DRMN, Scores

KERNELS = [
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.MATH,
]
"""Kernels of a backbone's own attention: `compute.attention` is for the head's transformer, and no
fused kernel supports windows as Hiera has them."""


class FinetunedNetwork(nn.Module):
    """A DRMN on a backbone that is fine-tuned with it.

    The backbone stays in evaluation mode: its batch normalisation keeps the statistics that its
    weights were learnt with, which a batch of 32 photos would only blur.

    Args:
        backbone: The backbone, with the levels that the head needs.
        head: The network on its maps.
    """

    def __init__(self, backbone: Backbone, head: DRMN) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.stages = _reached(backbone, head.levels)

    def train(self, mode: bool = True) -> "FinetunedNetwork":  # noqa: FBT001, FBT002
        """Set the head's mode alone."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, pixels: Float[Tensor, "image 3 height width"]) -> Scores:
        """Score photos."""
        scores: Scores = self.head(self.backbone.maps(self._levels(pixels)))
        return scores

    def _levels(self, pixels: Tensor) -> Sequence[Tensor]:
        # A worker may have no image of a small batch, which a transformer cannot process: it gets a
        # blank one, whose output is dropped.
        shown = pixels if len(pixels) else pixels.new_zeros(1, *pixels.shape[1:])
        with sdpa_kernel(KERNELS):
            levels = self.backbone.body(shown.contiguous(memory_format=torch.channels_last))
        return levels if len(pixels) else [level[:0] for level in levels]

    def configure(self, compute: ComputeConfig) -> None:
        """Compile the backbone, or checkpoint its activations, according to the settings.

        Raises:
            ConfigError: It does not support activation checkpointing.
        """
        body: Any = self.backbone.body
        if compute.checkpointing:
            if not hasattr(body, "set_grad_checkpointing"):
                raise ConfigError(
                    "compute.checkpointing: this backbone cannot do without its activations; use a "
                    "small compute.micro_batch."
                )
            body.set_grad_checkpointing(enable=True)
        if compute.compile:
            body.compile()

    def unfreeze(self, epoch: int, every: int) -> None:
        """Unfreeze the stages that are due in `epoch`, counted from 1, and freeze the others."""
        due = (epoch - 1) // every if every else len(self.stages)
        first = max(0, len(self.stages) - due)
        for number, stage in enumerate(self.stages):
            for weight in stage:
                weight.requires_grad_(number >= first)


def _reached(backbone: Backbone, levels: Sequence[LevelName]) -> list[list[nn.Parameter]]:
    """Return the weights below the last of the levels stage by stage: others have no effect.

    Several workers would wait for their gradients in vain.
    """
    idle = _above(backbone, CLS if CLS in levels else levels[-1])
    names = {id(weight): name for name, weight in backbone.body.named_parameters()}
    kept = [[w for w in stage if names[id(w)] not in idle] for stage in stages_of(backbone.body)]
    return [stage for stage in kept if stage]


def _above(backbone: Backbone, top: LevelName) -> set[str]:
    """Return the names of the weights that the gradient of a level does not reach."""
    # Shapes alone: a backbone on "meta" computes nothing.
    body = copy.deepcopy(backbone.body).to("meta").requires_grad_(requires_grad=True)
    side = backbone.preprocess.size
    outputs = dict(
        zip(backbone.every, body(torch.zeros(1, 3, side, side, device="meta")), strict=True)
    )
    names, weights = zip(*body.named_parameters(), strict=True)
    grads = torch.autograd.grad(outputs[top].sum(), weights, allow_unused=True)
    return {name for name, grad in zip(names, grads, strict=True) if grad is None}


def stages_of(body: nn.Module) -> list[list[nn.Parameter]]:
    """Return a backbone's weights stage by stage, from its input to its top.

    Weights outside any stage, such as a ViT's position embedding, count as its input.
    """
    stages = [weights for part in _parts(body) if (weights := list(part.parameters()))]
    placed = {id(weight) for stage in stages for weight in stage}
    loose = [weight for weight in body.parameters() if id(weight) not in placed]
    return [loose, *stages] if loose else stages


def _parts(body: nn.Module) -> Iterator[nn.Module]:
    children: Sequence[nn.Module] = list(body.children())
    for child in children:
        inner: Iterable[nn.Module] = child.children()
        # A wrapper of the whole model, or EfficientNet's sequence of sequences of blocks.
        if len(children) == 1 or all(isinstance(part, nn.Sequential) for part in inner):
            yield from _parts(child) if list(child.children()) else [child]
        else:
            yield child


Network = DRMN | FinetunedNetwork

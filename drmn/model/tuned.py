"""Backbone and head as one network, for the finetuned tier."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from drmn.config import ComputeConfig
from drmn.errors import ConfigError
from drmn.model.backbone import Backbone
from drmn.model.network import DRMN, Scores


class Tuned(nn.Module):
    """A DRMN on a backbone that is trained along.

    The backbone stays in evaluation mode: its batch normalisation keeps the statistics that its
    weights were learnt with, which a batch of 32 photos would only blur.

    Args:
        backbone: With the levels that the head needs.
        head: The network on its maps.
    """

    def __init__(self, backbone: Backbone, head: DRMN) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def train(self, mode: bool = True) -> "Tuned":  # noqa: FBT001, FBT002
        """Set the head's mode alone."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, pixels: Float[Tensor, "image 3 height width"]) -> Scores:
        """Score photos."""
        laid_out = pixels.contiguous(memory_format=torch.channels_last)
        scores: Scores = self.head(self.backbone.maps(self.backbone.body(laid_out)))
        return scores

    def arrange(self, compute: ComputeConfig) -> None:
        """Have the backbone compiled, or keep no activations, as the settings say.

        Raises:
            ConfigError: It cannot do without its activations.
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

    def thaw(self, epoch: int, every: int) -> None:
        """Let the stages be trained that are due in `epoch`, counted from 1, and no others."""
        stages = stages_of(self.backbone.body)
        due = (epoch - 1) // every if every else len(stages)
        first = max(0, len(stages) - due)
        for number, stage in enumerate(stages):
            for weight in stage:
                weight.requires_grad_(number >= first)


def stages_of(body: nn.Module) -> list[list[nn.Parameter]]:
    """Return a backbone's weights stage by stage, from its input to its top.

    What is in no part, as a ViT's position embedding, is at its input.
    """
    stages = [weights for part in _parts(body) if (weights := list(part.parameters()))]
    placed = {id(weight) for stage in stages for weight in stage}
    loose = [weight for weight in body.parameters() if id(weight) not in placed]
    return [loose, *stages] if loose else stages


def _parts(body: nn.Module) -> Iterator[nn.Module]:
    children: Sequence[nn.Module] = list(body.children())
    for child in children:
        inner: Iterable[nn.Module] = child.children()
        # A wrapper round the whole model, or EfficientNet's sequence of sequences of blocks.
        if len(children) == 1 or all(isinstance(part, nn.Sequential) for part in inner):
            yield from _parts(child) if list(child.children()) else [child]
        else:
            yield child

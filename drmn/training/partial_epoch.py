"""What an epoch has come to: the part of it that is done, and the means of its loss terms."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from drmn.training.checkpoint import State


@dataclass
class PartialEpoch:
    """The finished part of an epoch."""

    terms: list[dict[str, Tensor]] = field(default_factory=list)
    """Loss terms of each micro-batch so far."""
    sizes: list[int] = field(default_factory=list)
    """Images of each of them."""
    norms: list[Tensor] = field(default_factory=list)
    """Norm of the gradient of each step."""
    chance: list[State] = field(default_factory=list)
    """States of torch's generators, for each worker; empty at the start of an epoch."""
    seconds: float = 0.0
    """Seconds that it took."""


def averaged(epoch: PartialEpoch) -> dict[str, float]:
    """Return each loss term averaged over the images of a whole epoch."""
    sizes = torch.tensor(epoch.sizes, dtype=torch.double)
    share, terms = sizes / sizes.sum(), epoch.terms
    return {
        f"loss/{name}": float(share @ torch.stack([each[name] for each in terms]).double().cpu())
        for name in terms[0]
    }

"""Randomness of an epoch: it depends on the seed and the epoch alone, so resuming is exact."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from drmn import distributed


@dataclass(frozen=True, slots=True)
class EpochRng:
    """Random draws of an epoch, the same on every worker but for torch's own generator."""

    seed: int
    epoch: int

    @property
    def number(self) -> int:
        """Return a number that no other epoch of this seed has."""
        return 10_000 * self.seed + self.epoch

    def order(self, images: int) -> Int[Tensor, " image"]:
        """Return the order in which images are seen."""
        return torch.randperm(images, generator=torch.Generator().manual_seed(self.number))

    def views(self, images: int, stored: int) -> Int[Tensor, " image"]:
        """Return which of an image's stored views is seen; 0 is the plain one."""
        generator = torch.Generator().manual_seed(self.number + 1_000_003)
        return torch.randint(stored + 1, (images,), generator=generator)

    def begin(self) -> None:
        """Seed torch's own generator, which dropout draws from, differently on each worker."""
        torch.manual_seed(self.number + 7_919 * distributed.rank())

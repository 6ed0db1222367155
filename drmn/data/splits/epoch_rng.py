"""Randomness of an epoch: it depends on the seed and the epoch alone, so resuming is exact."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from drmn import distributed
from drmn.config import Sampling


@dataclass(frozen=True, slots=True)
class EpochRng:
    """Random draws of an epoch, the same on every worker but for torch's own generator."""

    seed: int
    epoch: int

    @property
    def number(self) -> int:
        """Return a number that no other epoch of this seed has."""
        return 10_000 * self.seed + self.epoch

    def order(
        self, labels: Int[Tensor, " image"], sampling: Sampling = "shuffle"
    ) -> Int[Tensor, " draw"]:
        """Return the positions of the images to train on: as many as there are.

        Args:
            labels: The class of each image.
            sampling: "shuffle" for each image once; "balanced" for draws with replacement, in which
                each class is as likely as another.
        """
        generator = torch.Generator().manual_seed(self.number)
        if sampling == "shuffle":
            return torch.randperm(len(labels), generator=generator)
        weights = 1.0 / labels.bincount()[labels]
        return weights.multinomial(len(labels), replacement=True, generator=generator)

    def views(self, images: int, stored: int) -> Int[Tensor, " image"]:
        """Return which of an image's stored views is seen; 0 is the plain one."""
        generator = torch.Generator().manual_seed(self.number + 1_000_003)
        return torch.randint(stored + 1, (images,), generator=generator)

    def begin(self) -> None:
        """Seed torch's own generator, which dropout draws from, differently on each worker."""
        torch.manual_seed(self.number + 7_919 * distributed.rank())

"""Dropout that costs little on a CPU."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

LEVELS = 256


class Dropout(nn.Module):
    """`nn.Dropout` whose chance, on a CPU, is a byte a number: `share` is rounded to a 256th.

    torch draws a number of 64 bits for each there, which took a sixth of a step with the
    transformer.

    Args:
        share: Of the numbers that are set to zero in training.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """Drop numbers by chance and scale the others up, in training."""
        dropped = round(self.share * LEVELS)
        if not (self.training and dropped):
            return values
        if values.device.type != "cpu":
            return F.dropout(values, self.share)
        words = torch.empty(-(-values.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: values.numel()].view(values.shape) >= dropped
        return values * kept.to(values.dtype).mul_(LEVELS / (LEVELS - dropped))

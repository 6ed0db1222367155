"""Dropout that costs little on a CPU."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

LEVELS = 256


class Dropout(nn.Module):
    """`nn.Dropout` that draws, on a CPU, one byte per value: `share` is rounded to a 256th.

    torch draws 64 bits per value there, which took a sixth of a step with the transformer.

    Args:
        share: Share of the values that are set to zero in training.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """Drop values at random and scale the others up, in training."""
        dropped = round(self.share * LEVELS)
        if not (self.training and dropped):
            return values
        if values.device.type != "cpu":
            return F.dropout(values, self.share)
        words = torch.empty(-(-values.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: values.numel()].view(values.shape) >= dropped
        return values * kept.to(values.dtype).mul_(LEVELS / (LEVELS - dropped))

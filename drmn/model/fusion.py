"""Multi-level feature fusion: low levels keep the detail of small parts."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from drmn.level_names import LevelName, in_order
from drmn.model.norm import BatchNorm

LevelMaps = Mapping[LevelName, Float[Tensor, "image _ _"]]
"""Feature maps [image, region, channel] by stride; regions and channels differ between levels."""
Moments = Mapping[LevelName, tuple[Float[Tensor, " channel"], Float[Tensor, " channel"]]]
"""Mean and variance of each channel over images and regions, by stride."""


class Fusion(nn.Module):
    r"""Multi-level feature fusion (docs/paper.md, row DAB-a).

    $$v = P(L_{last}) + \sum_l \operatorname{BN}(\operatorname{Conv}_{1\times1}(L_l))
      \quad\text{or}\quad v = P([L_1; \dots; L_{last}])$$

    In `add` the last normalisation starts at weight zero, so training starts at "no fusion". $P$ is
    the identity where `width` is its number of inputs.

    Args:
        channels: Channels of each level by name; the largest stride or block is the last level.
        width: Channels of a fused region; 0 for as many as the inputs of $P$.
        concat: Concatenate the levels instead of adding them.
        normalize: Standardise each level's channels first and give every region the same length;
            frozen features are not made for dot products: a few large channels dominate the rest.
            By the batch, with running statistics for evaluation, unless `standardize_by` gives the
            moments.
    """

    def __init__(
        self, channels: Mapping[LevelName, int], width: int, *, concat: bool, normalize: bool
    ) -> None:
        super().__init__()
        self.levels = in_order(channels)
        self.concat = concat
        *lower, last = self.levels
        given = sum(channels.values()) if concat else channels[last]
        self.width = width or given
        self.project = nn.Identity() if self.width == given else nn.Linear(given, self.width)
        added = [] if concat else lower
        self.convs = nn.ModuleList([nn.Linear(channels[s], self.width, bias=False) for s in added])
        self.norms = nn.ModuleList([BatchNorm(self.width) for _ in added])
        for norm in self.norms.parameters():
            nn.init.zeros_(norm)
        self.standard = nn.ModuleList(
            [
                BatchNorm(channels[s], affine=False) if normalize else nn.Identity()
                for s in self.levels
            ]
        )
        self.normalize = normalize

    def standardize_by(self, moments: Moments) -> None:
        """Standardise by these moments from now on, in place of those of each batch."""
        for stride, norm in zip(self.levels, self.standard, strict=True):
            if isinstance(norm, BatchNorm):
                norm.fix(*moments[stride])

    def forward(self, maps: LevelMaps) -> Float[Tensor, "image region width"]:
        """Return the fused regions, on the grid of the last level."""
        regions = maps[self.levels[-1]].shape[1]
        *lower, last = (
            _over_regions(norm, pooled(maps[s], regions))
            for s, norm in zip(self.levels, self.standard, strict=True)
        )
        if self.concat:
            last = torch.cat([*lower, last], dim=-1)
        fused: Tensor = self.project(self._leveled(last))
        for level, conv, norm in zip(lower, self.convs, self.norms, strict=False):
            fused = fused + _over_regions(norm, conv(level))
        return fused

    def _leveled(self, regions: Tensor) -> Tensor:
        return (
            F.normalize(regions, dim=-1) * regions.shape[-1] ** 0.5 if self.normalize else regions
        )


def pooled(
    level: Float[Tensor, "image region channel"], regions: int
) -> Float[Tensor, "image coarse channel"]:
    """Return a square map averaged down to a square of `regions`."""
    if level.shape[1] == regions:
        return level
    side, target = math.isqrt(level.shape[1]), math.isqrt(regions)
    square = level.transpose(1, 2).unflatten(2, (side, side))
    return F.adaptive_avg_pool2d(square, target).flatten(2).transpose(1, 2)


def _over_regions(norm: nn.Module, regions: Tensor) -> Tensor:
    """Apply a normalisation with its statistics over images and regions."""
    out: Tensor = norm(regions.flatten(0, 1)).view_as(regions)
    return out

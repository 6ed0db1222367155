"""The backbone: a timm model that gives feature maps at several strides or blocks."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from drmn import vision
from drmn.data.feature_config import FeatureConfig
from drmn.data.images.decode import Preprocess
from drmn.level_names import CLS, LevelName, parse_levels
from drmn.model import class_token, pretrained, timm_levels


class Projection(nn.Module):
    """Principal components of a level's channels, fitted elsewhere and loaded as weights."""

    def __init__(self, channels: int, kept: int) -> None:
        super().__init__()
        self.mean, self.basis = (
            nn.Buffer(torch.zeros(channels)),
            nn.Buffer(torch.zeros(channels, kept)),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the components of each region."""
        return (maps.float() - self.mean) @ self.basis


def components(channels: int, share: float) -> int:
    """Return the number of components that are kept for so many channels."""
    return max(1, round(share * channels))


class Backbone(nn.Module):
    """A frozen feature extractor: pixels to maps [image, region, channel], one for each level.

    Tokens that are no region (CLS, registers) are in no map; CLS is a separate level on request.

    Args:
        config: The timm model, its weights and levels; and whether its channels are reduced to
            principal components, whose values have to be loaded.

    Raises:
        ConfigError: There is no such model, level or file of weights.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        outputs = timm_levels.outputs_of(config)
        self.body = pretrained.create(config, outputs.blocks)
        info: Any = self.body.feature_info
        self.every: tuple[LevelName, ...] = outputs.names or tuple(info.reduction())
        given = dict(zip(self.every, info.channels(), strict=True))
        self.levels = outputs.chosen or timm_levels.chosen_strides(config, self.body)
        if CLS in parse_levels(config.levels):
            given = {CLS: given[self.every[-1]], **given}
            self.body = class_token.added(config, self.body)
            self.every, self.levels = (CLS, *self.every), (CLS, *self.levels)
        self.by_region = getattr(self.body, "output_fmt", None) == vision.Format.NHWC
        """Whether maps come as [image, height, width, channel], as Swin's do."""
        self.full = config.maps == "full"
        share = config.pca_share if config.encoding == "pca" else 0.0
        kept = {s: components(c, share) if share else c for s, c in given.items()}
        self.channels = {s: kept[s] for s in self.levels}
        self.reduction = nn.ModuleDict(
            {str(s): Projection(given[s], kept[s]) for s in self.levels if share}
        )
        data = vision.resolve_model_data_config(self.body)
        self.preprocess = Preprocess(
            config.image_size, data["mean"], data["std"], data["interpolation"]
        )
        self.eval().requires_grad_(requires_grad=False)

    @torch.inference_mode()
    def forward(self, pixels: Tensor) -> dict[LevelName, Tensor]:
        """Return the maps by level, on the grid of the coarsest one unless they are kept full."""
        return self.maps(self.body(pixels.contiguous(memory_format=torch.channels_last)))

    def maps(self, outputs: Sequence[Tensor]) -> dict[LevelName, Tensor]:
        """Return the maps by level, given the outputs of the body."""
        if self.by_region:
            outputs = [level.permute(0, 3, 1, 2) for level in outputs]
        levels: dict[LevelName, Tensor] = dict(zip(self.every, outputs, strict=True))
        kept = {stride: levels[stride].float() for stride in self.levels}
        if not self.full:
            height, width = kept[self.levels[-1]].shape[-2:]
            kept = {
                s: m if s == CLS else nn.functional.adaptive_avg_pool2d(m, (height, width))
                for s, m in kept.items()
            }
        regions = {stride: level.flatten(2).transpose(1, 2) for stride, level in kept.items()}
        if not self.reduction:
            return regions
        return {s: self.reduction[str(s)](level) for s, level in regions.items()}

    @torch.inference_mode()
    def shapes(self) -> dict[LevelName, tuple[int, int]]:
        """Return the regions and channels of each level.

        Raises:
            ConfigError: The backbone takes no images of this size.
        """
        side = self.preprocess.size
        try:
            maps = self(torch.zeros(1, 3, side, side, device=self.device))
        except (AssertionError, IndexError, RuntimeError) as problem:
            raise pretrained.other_size(self.config, problem) from None
        return {stride: (level.shape[1], level.shape[2]) for stride, level in maps.items()}

    @property
    def device(self) -> torch.device:
        """The device of the body."""
        return next(self.body.parameters()).device

    @property
    def digest(self) -> str:
        """16 hex digits of SHA-256 of the body's weights."""
        content = hashlib.sha256()
        for name, value in sorted(self.body.state_dict(prefix="body.").items()):
            content.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        return content.hexdigest()[:16]

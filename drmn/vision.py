"""torchvision and timm, imported without torch's compiler, which they load but this code skips.

Both import `torch._dynamo` for decorators that matter to torch.compile alone: seconds in every
process that decodes a photo. Our modules import them from here.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import torch  # noqa: F401 - first: the compiler's own modules are then in place

COMPILER = "torch._dynamo"


def is_compile_supported(device: str) -> bool:
    """Return whether the compiler supports a device; it is imported at the first call."""
    from torch._dynamo import utils  # noqa: PLC0415 - the compiler takes seconds to import

    return utils.is_compile_supported(device)


def disable(
    function: Callable[..., Any], recursive: object = None, *, reason: str | None = None
) -> Callable[..., Any]:
    """Return a function as it is: the compiler may trace it."""
    del recursive, reason
    return function


def _stand_in() -> dict[str, ModuleType]:
    compiler, utils = ModuleType(COMPILER), ModuleType(f"{COMPILER}.utils")
    vars(utils)["is_compile_supported"] = is_compile_supported
    vars(compiler).update(utils=utils, disable=disable, config=SimpleNamespace(), __path__=[])
    return {each.__name__: each for each in (compiler, utils)}


@contextmanager
def without_compiler() -> Iterator[None]:
    """Let imports of a `with` block get a stub of the compiler, unless it is loaded."""
    stand_in = {} if COMPILER in sys.modules else _stand_in()
    sys.modules.update(stand_in)
    try:
        yield
    finally:
        for name in stand_in:
            del sys.modules[name]


with without_compiler():
    import timm
    from timm.data import resolve_model_data_config
    from timm.layers import Format
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms import InterpolationMode, v2

__all__ = [
    "Format",
    "ImageReadMode",
    "InterpolationMode",
    "decode_image",
    "resolve_model_data_config",
    "timm",
    "v2",
]

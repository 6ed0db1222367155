"""torchvision and timm, imported when they are used first: `vision.timm`, `vision.v2`.

They take over a CPU second, and a trial on prepared features needs neither. They come without
torch's compiler (`drmn.compiler`).
"""

import pkgutil
import threading
from typing import TYPE_CHECKING, Any

from drmn.collector import paused
from drmn.compiler import without_compiler

if TYPE_CHECKING:
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
_PLACES = {
    "Format": "timm.layers:Format",
    "ImageReadMode": "torchvision.io:ImageReadMode",
    "InterpolationMode": "torchvision.transforms:InterpolationMode",
    "decode_image": "torchvision.io:decode_image",
    "resolve_model_data_config": "timm.data:resolve_model_data_config",
    "timm": "timm",
    "v2": "torchvision.transforms.v2",
}
_LOCK = threading.RLock()
"""Photos are decoded in threads: one of them imports, the others wait."""


def __getattr__(name: str) -> Any:
    """Import what is used for the first time (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _LOCK, paused(), without_compiler():
        globals()[name] = pkgutil.resolve_name(_PLACES[name])
    return globals()[name]

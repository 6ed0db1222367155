"""torchvision and timm, imported without torch's compiler (`drmn.compiler`).

Our modules import them from here.
"""

from drmn.compiler import without_compiler

with without_compiler():
    import timm
    from timm.data import resolve_model_data_config
    from timm.layers import Format
    from timm.models._features import FeatureGetterNet
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms import InterpolationMode, v2

__all__ = [
    "FeatureGetterNet",
    "Format",
    "ImageReadMode",
    "InterpolationMode",
    "decode_image",
    "resolve_model_data_config",
    "timm",
    "v2",
]

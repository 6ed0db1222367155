"""The settings of a feature store."""

from dataclasses import dataclass
from typing import Literal

from drmn.fields import require, require_one_of
from drmn.level_names import parse_levels

OnBad = Literal["stop", "skip"]
Resolution = Literal["pooled", "full"]
Encoding = Literal["bf16", "int8", "pca"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureConfig:
    """Settings of a feature store: the backbone, the size of its input and the levels kept."""

    backbone: str = "tf_efficientnet_lite0"
    """A timm model that serves features_only."""
    weights: str = "auto"
    """One of: auto, hub, random, or a file. auto is the pip package that has this backbone, or else
    timm's hub."""
    image_size: int = 0
    """Pixels a side of the backbone's input; 0 for what suits the dataset."""
    levels: str = "8+16+32"
    """Levels kept, by stride; by block where blocks share one, as in a ViT (b4+b8+b12; b-1 is the
    last; cls is the class token, for `model.global_input`). `jobs/prepare.py --backbone NAME
    --show-levels` lists them."""
    maps: Resolution = "pooled"
    """Every level at the grid of the coarsest one, or each at its own (16 times as large at a
    quarter of the stride)."""
    views: int = 0
    """Augmented views of each image (crop, flip) to train on, beside the plain one."""
    encoding: Encoding = "bf16"
    """How features are stored: bf16, int8 or pca. Whole, as a byte with a scale for each channel,
    or as principal components. The last two are fitted on the training images of the fold."""
    pca_share: float = 0.25
    """Share of the channels that "pca" keeps."""
    hdf5: str = ""
    """File of features to use instead of a backbone. Laid out as those of DAZLE, TransZero and
    MSDN."""
    on_bad: OnBad = "stop"
    """On unreadable images: stop, or skip them and say so."""

    def __post_init__(self) -> None:
        """Check each value."""
        parse_levels(self.levels)
        ok = self.image_size == 0 or 32 <= self.image_size <= 1024
        require("image_size", self.image_size, ok, "0 or in 32..1024")
        require_one_of("maps", self.maps, Resolution)
        require("views", self.views, 0 <= self.views <= 16, "in 0..16")
        if self.hdf5:  # there are no pixels to look at again
            require("maps", self.maps, self.maps == "pooled", "pooled with --hdf5")
            require("views", self.views, self.views == 0, "0 with --hdf5")
        require_one_of("encoding", self.encoding, Encoding)
        require("pca_share", self.pca_share, 0 < self.pca_share <= 1, "in (0, 1]")
        require_one_of("on_bad", self.on_bad, OnBad)

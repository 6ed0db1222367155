"""DRMN: levels fused, attributes attended to, two branches scored (docs/paper.md)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from drmn.config import ModelConfig, strides
from drmn.errors import ConfigError
from drmn.model.attention import DualAttention
from drmn.model.interaction import Interaction

Maps = Mapping[int, Float[Tensor, "image region channel"]]


class Fusion(nn.Module):
    r"""Multi-level feature fusion (docs/paper.md, row DAB-a).

    $$v = P(L_{last}) + \sum_l \operatorname{BN}(\operatorname{Conv}_{1\times1}(L_l))
      \quad\text{or}\quad v = P([L_1; \dots; L_{last}])$$

    In `add` the last normalisation starts at weight zero, so training starts at "no fusion". $P$ is
    the identity where `width` is what it is given.

    Args:
        channels: Channels of each level by stride; the largest stride is the last level.
        width: Channels of a fused region; 0 for as many as $P$ is given.
        concat: Put the levels side by side instead of adding them.
        normalize: Standardise each level's channels first and give every region the same length;
            frozen features are not made for dot products, and a few bright channels drown the rest.
    """

    def __init__(
        self, channels: Mapping[int, int], width: int, *, concat: bool, normalize: bool
    ) -> None:
        super().__init__()
        self.strides = tuple(sorted(channels))
        self.concat = concat
        *lower, last = self.strides
        given = sum(channels.values()) if concat else channels[last]
        self.width = width or given
        self.project = nn.Identity() if self.width == given else nn.Linear(given, self.width)
        added = [] if concat else lower
        self.convs = nn.ModuleList([nn.Linear(channels[s], self.width, bias=False) for s in added])
        self.norms = nn.ModuleList([nn.BatchNorm1d(self.width) for _ in added])
        for norm in self.norms.parameters():
            nn.init.zeros_(norm)
        self.standard = nn.ModuleList(
            [
                nn.BatchNorm1d(channels[s], affine=False) if normalize else nn.Identity()
                for s in self.strides
            ]
        )
        self.normalize = normalize

    def forward(self, maps: Maps) -> Float[Tensor, "image region width"]:
        """Return the fused regions."""
        *lower, last = (
            _over_regions(norm, maps[s])
            for s, norm in zip(self.strides, self.standard, strict=True)
        )
        if self.concat:
            last = torch.cat([*lower, last], dim=-1)
        fused: Tensor = self.project(self._leveled(last))
        for level, conv, norm in zip(lower, self.convs, self.norms, strict=False):
            fused = fused + _over_regions(norm, conv(level))
        return fused

    def _leveled(self, regions: Tensor) -> Tensor:
        return (
            F.normalize(regions, dim=-1) * regions.shape[-1] ** 0.5 if self.normalize else regions
        )


def _over_regions(norm: nn.Module, regions: Tensor) -> Tensor:
    """Apply a normalisation with its statistics over images and regions."""
    out: Tensor = norm(regions.flatten(0, 1)).view_as(regions)
    return out


class Pooled(nn.Module):
    """No dual attention (the paper's ablation): the pooled regions stand for every attribute."""

    def __init__(self, attributes: int, width: int) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(attributes, width) * width**-0.5)

    def forward(
        self, regions: Float[Tensor, "image region width"]
    ) -> Float[Tensor, "image attr width"]:
        """Repeat the mean region for each attribute."""
        return regions.mean(dim=1)[:, None].expand(-1, len(self.prototypes), -1)


@dataclass(frozen=True, slots=True)
class Scores:
    """What the network says of some images."""

    attributes: Float[Tensor, "image attr"]
    """e: how strongly each attribute shows."""
    interacted: Float[Tensor, "image attr"] | None
    """The same after the semantic interaction transformer; in training only."""
    globally: Float[Tensor, "image seen"] | None
    """g: the global branch's logits over the seen classes."""


class DRMN(nn.Module):
    r"""The Dual Relation Mining Network on feature maps.

    Attribute scores are $e_a = p_a^\top W_2 h_a$ (docs/paper.md, row SCORE).

    Args:
        config: Its settings.
        channels: Channels of each level by stride.
        attributes: How many attributes there are.
        seen: How many seen classes the global branch tells apart.
        words: Word vectors of the attributes, for `prototypes="words"`.

    Raises:
        ConfigError: A setting needs a level or word vectors that are not there.
    """

    def __init__(
        self,
        config: ModelConfig,
        channels: Mapping[int, int],
        *,
        attributes: int,
        seen: int,
        words: Float[Tensor, "attr word"] | None = None,
    ) -> None:
        super().__init__()
        kept = _kept(config, channels)
        self.fusion = Fusion(
            kept,
            config.width,
            concat=config.fusion == "concat",
            normalize=config.normalize,
        )
        width = self.fusion.width
        self.block = (
            DualAttention(
                attributes,
                width,
                reduction=config.gate_reduction,
                gated=config.channel_attention,
            )
            if config.dab
            else Pooled(attributes, width)
        )
        self.predict = nn.Parameter(torch.eye(width))  # W_2
        self.interaction = _interaction(config, width)
        self.globally = nn.Linear(width, seen) if config.global_branch else None
        if config.prototypes == "words":
            self._start_from_words(words)

    def forward(self, maps: Maps) -> Scores:
        """Score the images."""
        regions = self.fusion(maps)
        features = self.block(regions)
        mixed = None
        if self.training and self.interaction is not None:
            mixed = self.score(self.interaction(features))
        logits = None if self.globally is None else self.globally(regions.mean(dim=1))
        return Scores(self.score(features), mixed, logits)

    def score(self, features: Float[Tensor, "image attr width"]) -> Float[Tensor, "image attr"]:
        """Return e for attribute features h."""
        readers = self.block.prototypes @ self.predict  # [attr, width]: once a step
        return (features * readers).sum(dim=-1)

    @torch.no_grad()
    def attention(self, maps: Maps) -> Float[Tensor, "image attr region"] | None:
        """Return where each attribute looks, or None without dual attention."""
        if not isinstance(self.block, DualAttention):
            return None
        return self.block.attention(self.fusion(maps))

    @torch.no_grad()
    def _start_from_words(self, words: Tensor | None) -> None:
        if words is None:
            raise ConfigError(
                "model.prototypes words: this dataset has no word vectors "
                '(w2v/<NAME>_attribute.npy); use "normal".'
            )
        own = self.block.prototypes
        spread = torch.randn(words.shape[1], own.shape[1]) * own.shape[1] ** -0.5
        own.copy_(F.normalize(words, dim=-1) @ spread)  # normalize has an eps: SUN's row 88 is zero


def _kept(config: ModelConfig, channels: Mapping[int, int]) -> dict[int, int]:
    wanted = strides(config.levels)
    for stride in wanted:
        if stride not in channels:
            have = "+".join(map(str, sorted(channels)))
            raise ConfigError(f"model.levels {config.levels}: the features hold {have}.")
    return {stride: channels[stride] for stride in wanted}


def _interaction(config: ModelConfig, width: int) -> Interaction | None:
    if config.sit == "none":
        return None
    if width % config.sit_heads:
        raise ConfigError(f"model.sit_heads {config.sit_heads} does not divide the width {width}.")
    return Interaction(
        config.sit,
        width,
        layers=config.sit_layers,
        heads=config.sit_heads,
        dropout=config.sit_dropout,
    )


def hyperspherical(
    scores: Float[Tensor, "image attr"], attributes: Float[Tensor, "class attr"], scale: float
) -> Float[Tensor, "image class"]:
    r"""Return logits $o_c = \gamma^2 \cos(z_c, e)$ (docs/paper.md, row CLS).

    Args:
        scores: Attribute scores e.
        attributes: Class attributes z.
        scale: The paper's gamma.
    """
    return scale**2 * F.normalize(scores, dim=-1) @ F.normalize(attributes, dim=-1).T

"""DRMN: levels fused, attributes attended to, two branches scored (docs/paper.md)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from drmn.config import ModelConfig
from drmn.errors import ConfigError
from drmn.level_names import CLS, LevelName, in_order, join, parse_levels, require_class_token
from drmn.model.attention import DualAttention
from drmn.model.fusion import Fusion, LevelMaps, Moments
from drmn.model.interaction import Interaction
from drmn.model.norm import BatchNorm
from drmn.space_features import takes_class_token


class Pooled(nn.Module):
    """No dual attention (the paper's ablation): every attribute has the pooled regions."""

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
    """Outputs of the network for some images."""

    attributes: Float[Tensor, "image attr"]
    """e: how strongly each attribute shows."""
    interacted_scores: Float[Tensor, "image attr"] | None
    """The same after the semantic interaction transformer; in training only."""
    global_logits: Float[Tensor, "image seen"] | None
    """g: the global branch's logits over the seen classes."""

    def each(self, change: Callable[[Tensor], Tensor]) -> "Scores":
        """Return the scores with every part of them changed."""
        return Scores(
            change(self.attributes),
            None if self.interacted_scores is None else change(self.interacted_scores),
            None if self.global_logits is None else change(self.global_logits),
        )


class DRMN(nn.Module):
    r"""The Dual Relation Mining Network on feature maps.

    Attribute scores are $e_a = p_a^\top W_2 h_a$, $p_a^\top h_a$ or $w_a^\top h_a$ with separate
    vectors $w_a$ (docs/paper.md, row SCORE).

    Args:
        config: Its settings.
        channels: Channels of each level by stride.
        attributes: Number of attributes.
        seen: Number of seen classes, the outputs of the global branch.
        words: Word vectors of the attributes, for `prototypes="words"`.

    Raises:
        ConfigError: A setting needs a level or word vectors that are not there.
    """

    def __init__(
        self,
        config: ModelConfig,
        channels: Mapping[LevelName, int],
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
        scored = config.attribute_scores
        self.predict = nn.Parameter(torch.eye(width)) if scored == "bilinear" else None  # W_2
        self.interaction = _interaction(config, width, attributes)
        self.token = _token_norm(config, channels)
        given = width if self.token is None else channels[CLS]
        self.global_logits = nn.Linear(given, seen) if config.global_branch else None
        if config.prototypes == "words":
            self._start_from_words(words)
        # Without dual attention nothing else uses the prototypes: they are such vectors.
        own = scored == "own" and config.dab
        self.own = nn.Parameter(self.block.prototypes.detach().clone()) if own else None  # w_a

    def forward(self, maps: LevelMaps) -> Scores:
        """Score the images."""
        regions = self.fusion(maps)
        features, readers = self.block(regions), self.readers()
        mixed = None
        if self.training and self.interaction is not None:
            mixed = score(self.interaction(features), readers)
        logits = None
        if self.global_logits is not None:
            token = None if self.token is None else self.token(maps[CLS][:, 0])
            logits = self.global_logits(regions.mean(dim=1) if token is None else token)
        return Scores(score(features, readers), mixed, logits)

    @property
    def levels(self) -> tuple[LevelName, ...]:
        """The levels of the features that it reads, the class token among them."""
        return self.fusion.levels if self.token is None else (CLS, *self.fusion.levels)

    def standardize_by(self, moments: Moments) -> None:
        """Standardise the levels by these moments from now on."""
        self.fusion.standardize_by(moments)
        if isinstance(self.token, BatchNorm):
            self.token.fix(*moments[CLS])

    def readers(self) -> Float[Tensor, "attr width"]:
        """Return the vector that reads each attribute's score: no image in it, so once a step."""
        if self.own is not None:
            return self.own
        prototypes: Tensor = self.block.prototypes
        return prototypes if self.predict is None else prototypes @ self.predict

    @torch.no_grad()
    def attention(self, maps: LevelMaps) -> Float[Tensor, "image attr region"] | None:
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


def score(
    features: Float[Tensor, "image attr width"], readers: Float[Tensor, "attr width"]
) -> Float[Tensor, "image attr"]:
    """Return e, each attribute's feature read by its reader (docs/paper.md, row SCORE)."""
    return (features * readers).sum(dim=-1)


def _token_norm(config: ModelConfig, channels: Mapping[LevelName, int]) -> nn.Module | None:
    """Return the standardisation of the class token, or None where no branch reads it."""
    if not takes_class_token(config):
        return None
    require_class_token(channels)
    return BatchNorm(channels[CLS], affine=False) if config.normalize else nn.Identity()


def _kept(config: ModelConfig, channels: Mapping[LevelName, int]) -> dict[LevelName, int]:
    wanted = parse_levels(config.levels)[-1 if config.fusion == "none" else 0 :]
    for stride in wanted:
        if stride not in channels:
            have = join(in_order(channels))
            raise ConfigError(f"model.levels {config.levels}: the features hold {have}.")
    return {stride: channels[stride] for stride in wanted}


def _interaction(config: ModelConfig, width: int, attributes: int) -> Interaction | None:
    if config.sit == "none":
        return None
    inside = config.sit_width or width
    if inside % config.sit_heads:
        raise ConfigError(f"model.sit_heads {config.sit_heads} does not divide the width {inside}.")
    return Interaction(
        config.sit,
        width,
        inside=inside,
        layers=config.sit_layers,
        heads=config.sit_heads,
        dropout=config.sit_dropout,
        feedforward=config.sit_feedforward,
        scope=config.sit_scope,
        attributes=attributes if config.sit_embedding else 0,
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

"""The semantic interaction transformer (SIT): attributes of a batch attend to each other."""

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from drmn import distributed
from drmn.config import Scope, Sit
from drmn.model.dropout import Dropout


class Encoder(nn.Module):
    r"""A post-norm encoder layer (docs/paper.md, row SIT).

    $$H' = \operatorname{LN}(\operatorname{MHSA}(H) + H), \qquad
      \hat H = \operatorname{LN}(\operatorname{MLP}(H') + H')$$

    Not `nn.TransformerEncoderLayer`: with dropout that one builds the score matrix, which for the
    9,984 tokens of a CUB batch does not fit; `scaled_dot_product_attention` alone drops no scores.
    """

    def __init__(self, width: int, heads: int, dropout: float, feedforward: int = 0) -> None:
        super().__init__()
        wide = feedforward or width
        self.heads, self.dropout = heads, Dropout(dropout)
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, wide), nn.ReLU(), Dropout(dropout), nn.Linear(wide, width)
        )
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])

    def forward(
        self, tokens: Float[Tensor, "sequence token width"], *, wide: bool = False
    ) -> Float[Tensor, "sequence token width"]:
        """Let the tokens of each sequence attend to each other.

        Args:
            tokens: Tokens of this worker.
            wide: Whether a sequence spans all workers: attend to the others' tokens too.
        """
        first = self.norms[0](self.dropout(self._attend(tokens, wide=wide)) + tokens)
        result: Tensor = self.norms[1](self.dropout(self.mlp(first)) + first)
        return result

    def _attend(self, tokens: Tensor, *, wide: bool) -> Tensor:
        query, asked = self.project(tokens).split((tokens.shape[-1], 2 * tokens.shape[-1]), dim=-1)
        if wide and distributed.world() > 1:
            asked = distributed.gather(asked.transpose(0, 1)).transpose(0, 1)
        key, value = asked.chunk(2, dim=-1)
        query, key, value = map(self._by_head, (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out

    def _by_head(self, tokens: Tensor) -> Tensor:
        """Return [sequence, head, token, part]."""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Interaction(nn.Module):
    """Encoder layers over attribute features, in one of three readings of "the batch's tokens".

    Args:
        mode: "joint" makes one sequence of all attributes of all images (the paper's words);
            "batch" one of the images for each attribute; "attr" one of the attributes for each
            image. The cost grows with the square of a sequence's length.
        width: Channels of an attribute feature.
        inside: Channels of a token; features are projected to it and back where they differ.
        layers: How many encoder layers.
        heads: Attention heads; they divide `inside`.
        dropout: Dropout of the attention's and the MLP's output.
        feedforward: Channels inside an MLP; 0 for `inside`.
        scope: Whether "joint" and "batch" take the images of all workers, or of one alone.
        attributes: Number of attributes that have a learnt embedding, added to each token; 0 for
            none: nothing then tells the tokens of an image apart but their features.
    """

    def __init__(
        self,
        mode: Sit,
        width: int,
        *,
        inside: int,
        layers: int,
        heads: int,
        dropout: float,
        feedforward: int = 0,
        scope: Scope = "global",
        attributes: int = 0,
    ) -> None:
        super().__init__()
        self.mode, self.wide = mode, scope == "global" and mode != "attr"
        same = inside == width
        self.narrow = nn.Identity() if same else nn.Linear(width, inside)
        self.widen = nn.Identity() if same else nn.Linear(inside, width)
        self.embedding = (
            nn.Parameter(0.02 * torch.randn(attributes, inside)) if attributes else None
        )
        self.layers = nn.ModuleList(
            [Encoder(inside, heads, dropout, feedforward) for _ in range(layers)]
        )

    def forward(
        self, features: Float[Tensor, "image attr width"]
    ) -> Float[Tensor, "image attr width"]:
        """Return the attribute features after they have attended to each other."""
        tokens = self.narrow(features)
        if self.embedding is not None:
            tokens = tokens + self.embedding
        if self.mode == "batch":
            tokens = tokens.transpose(0, 1)
        elif self.mode == "joint":
            tokens = tokens.flatten(0, 1)[None]
        for layer in self.layers:
            tokens = layer(tokens, wide=self.wide)
        if self.mode == "batch":
            tokens = tokens.transpose(0, 1)
        out: Tensor = self.widen(tokens.reshape(*features.shape[:2], tokens.shape[-1]))
        return out

"""The semantic interaction transformer (SIT): attributes of a batch tell each other apart."""

import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from drmn.config import Sit


class Encoder(nn.Module):
    r"""A post-norm encoder layer (docs/paper.md, row SIT).

    $$H' = \operatorname{LN}(\operatorname{MHSA}(H) + H), \qquad
      \hat H = \operatorname{LN}(\operatorname{MLP}(H') + H')$$

    Not `nn.TransformerEncoderLayer`: with dropout that one builds the score matrix, which for the
    9,984 tokens of a CUB batch does not fit; `scaled_dot_product_attention` alone drops no scores.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width)
        )
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])

    def forward(
        self, tokens: Float[Tensor, "sequence token width"]
    ) -> Float[Tensor, "sequence token width"]:
        """Let the tokens of each sequence attend to each other."""
        mixed = F.dropout(self._attend(tokens), self.dropout, self.training)
        first = self.norms[0](mixed + tokens)
        again = F.dropout(self.mlp(first), self.dropout, self.training)
        result: Tensor = self.norms[1](again + first)
        return result

    def _attend(self, tokens: Tensor) -> Tensor:
        parts = self.project(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts.unbind(0))  # [sequence, head, token, part]
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Interaction(nn.Module):
    """Encoder layers over attribute features, in one of three readings of "the batch's tokens".

    Args:
        mode: "joint" makes one sequence of all attributes of all images (the paper's words);
            "batch" one of the images for each attribute; "attr" one of the attributes for each
            image. Cost grows with the square of a sequence's length.
        width: Channels of an attribute feature.
        layers: How many encoder layers.
        heads: Attention heads; they divide `width`.
        dropout: Of the attention's and the MLP's output.
    """

    def __init__(self, mode: Sit, width: int, *, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.mode = mode
        self.layers = nn.Sequential(*[Encoder(width, heads, dropout) for _ in range(layers)])

    def forward(
        self, features: Float[Tensor, "image attr width"]
    ) -> Float[Tensor, "image attr width"]:
        """Return the attribute features after they have seen each other."""
        if self.mode == "attr":
            out: Tensor = self.layers(features)
            return out
        if self.mode == "batch":
            mixed: Tensor = self.layers(features.transpose(0, 1))
            return mixed.transpose(0, 1)
        joint: Tensor = self.layers(features.flatten(0, 1)[None])
        return joint[0].view_as(features)

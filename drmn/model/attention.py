"""The dual attention block (DAB): spatial and channel attention of each attribute."""

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn


class DualAttention(nn.Module):
    r"""Describe an image by one feature for each attribute.

    With a learned prototype $p_a$ for each attribute and the regions $v_r$ of an image
    (docs/paper.md, rows DAB-b and DAB-c):

    $$k_a = \sum_r \operatorname{softmax}_r(p_a^\top W_1 v_r)\, v_r, \qquad
      q_a = \hat p_a + \hat{\bar v}, \qquad
      h_a = k_a \odot \sigma(\operatorname{MLP}(q_a))$$

    where $\bar v$ is the mean region and $\hat x = x / \lVert x \rVert$. Two attributes that show
    in one place get the same $k$; the gate distinguishes them.

    Args:
        attributes: How many attributes there are.
        width: Channels of a region and of a prototype.
        reduction: How many times narrower the gate is inside.
        gated: Whether there is channel attention; without it h is k.
    """

    def __init__(
        self, attributes: int, width: int, *, reduction: int = 16, gated: bool = True
    ) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(attributes, width) * width**-0.5)
        self.compare = nn.Parameter(torch.eye(width))  # W_1
        self.gate = ChannelGate(width, reduction) if gated else None

    def forward(
        self, regions: Float[Tensor, "image region width"]
    ) -> Float[Tensor, "image attr width"]:
        """Attend to the regions once for each attribute."""
        found = self.attention(regions) @ regions  # [image, attr, width]
        if self.gate is None:
            return found
        return found * self.gate(self.prototypes, regions.mean(dim=1))

    def attention(
        self, regions: Float[Tensor, "image region width"]
    ) -> Float[Tensor, "image attr region"]:
        """Return where each attribute looks; each row sums to 1."""
        query = self.prototypes @ self.compare  # [attr, width]: no image in it, so once a step
        return (query @ regions.transpose(1, 2)).softmax(dim=-1)


class ChannelGate(nn.Module):
    """The gate of channel attention: how much of each channel an attribute keeps, in (0, 1).

    It is nearly open at the start (last bias +2), so that training starts near plain spatial
    attention.
    """

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(width, max(1, width // reduction))
        self.widen = nn.Linear(self.narrow.out_features, width)
        nn.init.constant_(self.widen.bias, 2.0)

    def forward(
        self, prototypes: Float[Tensor, "attr width"], mean: Float[Tensor, "image width"]
    ) -> Float[Tensor, "image attr width"]:
        """Return the gate of each attribute in each image."""
        # The first layer is linear in q = a + b, so it is taken of a and of b: no q is ever made.
        own = self.narrow(F.normalize(prototypes, dim=-1))  # [attr, narrow]
        shared = F.linear(F.normalize(mean, dim=-1), self.narrow.weight)  # [image, narrow]
        return torch.sigmoid(self.widen(F.relu(own + shared[:, None])))

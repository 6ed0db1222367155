"""Batch normalisation: by the batch of all workers, or by moments that are known beforehand."""

import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from drmn import distributed


class BatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` whose batch is that of all workers together.

    `nn.SyncBatchNorm` does the same on GPUs alone.
    """

    fixed = False
    """Whether the moments are constants, in training too."""

    def fix(self, mean: Float[Tensor, " channel"], variance: Float[Tensor, " channel"]) -> None:
        """Normalise by these moments from now on, whatever the batch."""
        if self.running_mean is None or self.running_var is None:
            raise ValueError("running statistics are where the moments are kept")
        self.running_mean.copy_(mean)
        self.running_var.copy_(variance)
        self.fixed = True

    def forward(self, rows: Float[Tensor, "row channel"]) -> Float[Tensor, "row channel"]:
        """Normalise each channel."""
        if self.fixed:
            return F.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        if distributed.world() == 1 or not self.training:
            return super().forward(rows)
        wide = rows.float()  # statistics in float32, whatever the step's precision
        count = distributed.total(wide.new_full((1,), len(wide)))
        mean = distributed.total(wide.sum(dim=0)) / count
        centred = wide - mean
        variance = distributed.total(centred.square().sum(dim=0)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        out: Tensor = centred * (variance + self.eps).rsqrt()
        return (out * self.weight + self.bias if self.affine else out).to(rows.dtype)

    def _remember(self, mean: Tensor, unbiased: Tensor) -> None:
        if self.num_batches_tracked is None or self.momentum is None:
            raise ValueError("running statistics are what validation uses")
        self.num_batches_tracked += 1
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)

r"""A Gaussian process over settings and epochs: predicts final values from all curves so far.

The value of trial $i$ with settings $x$ after $e$ epochs is $m(e)$, the mean curve, plus a process
with the covariance

$$ s^2 \big[ k(x, x') (\rho + (1 - \rho) r(e, e')) + \tau [i = i'] r(e, e') \big] + noise $$

with a Matern kernel $k$ of smoothness 5/2, a length for each setting, and
$r(e, e') = \exp(-(\log e - \log e')^2 / 2 l^2)$. So how well early epochs predict late ones is
learnt: on some spaces they predict nothing of a small learning rate. In the manner of freeze-thaw
(Swersky et al., arXiv:1406.3896) and FABOLAS (Klein et al., arXiv:1605.07079), small enough to be
fitted in a moment.
"""

import math
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Int
from scipy.special import ndtr
from torch import Tensor

from drmn.search.samplers.learning_curve_data import CurveData, PointMatrix, Vector

OPTIMISER_STEPS = 30
"""Maximum number of steps of the optimiser that fits the kernel."""
PRIOR = {"length": (math.log(0.8), 1.0), "memory": (math.log(0.7), 1.0)}
PRIOR |= {"noise": (math.log(0.05), 1.5), "share": (0.0, 1.5), "own": (math.log(0.1), 1.5)}
"""Mean and standard deviation of the kernel's parameters, for values of variance 1: logarithms,
but for `share`, the logit of rho."""
BOUND = 3.0
"""Standard deviations of its prior that a parameter may be away from the mean."""
LEAST = 1e-6
EXACT = "donot_use_mm_for_euclid_dist"
PART = 64
"""Points that are predicted in one batch."""


class LearningCurveGP:
    """A process conditioned on `data`. Deterministic: it depends on nothing else.

    Args:
        data: The values of trials at epochs.
        kernel: Its parameters, fitted before; fitted to the data if there are none.
    """

    def __init__(self, data: CurveData, kernel: Tensor | None = None) -> None:
        self.data = data
        self.means = mean_curve(data)
        left = data.values - self.mean(data.epochs)
        self.spread = float(left.std()) or 1.0
        self.left = torch.from_numpy(left / self.spread)
        self.rows = self._rows(data.points, data.epochs, data.trials)
        self.kernel = self._fitted() if kernel is None else kernel
        self._condition()

    def mean(self, epochs: Vector) -> Vector:
        """Return the mean curve at some epochs."""
        known = np.array(sorted(self.means))
        return np.interp(epochs, known, [self.means[epoch] for epoch in known])

    def predict(
        self, points: PointMatrix, epoch: float, trials: Int[np.ndarray, " value"]
    ) -> tuple[Vector, Vector]:
        """Return mean and standard deviation of the values of settings after `epoch` epochs.

        A trial that is not in the data is -1.
        """
        epochs = np.full(len(points), float(epoch))
        rows = self._rows(points, epochs, trials)
        with torch.no_grad():
            # In parts: for all candidates at once these matrices take many megabytes.
            split = zip(*(each.split(PART) for each in rows), strict=True)
            parts = [self._foreseen(part) for part in split]
            mean, variance = (torch.cat(each).numpy() for each in zip(*parts, strict=True))
        return self.mean(epochs) + self.spread * mean, self.spread * np.sqrt(variance)

    def _foreseen(self, rows: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        across = self._covariance(self.kernel, rows, self.rows)
        half = torch.linalg.solve_triangular(self.lower, across.T, upper=False)
        whole = 1.0 + torch.exp(self._named(self.kernel)["own"])
        variance = self.scale * (whole - (half**2).sum(0)).clamp(min=LEAST)
        return across @ self.weights, variance

    def _rows(
        self, points: PointMatrix, epochs: Vector, trials: Int[np.ndarray, " value"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        return (
            torch.from_numpy(np.asarray(points, float)),
            torch.from_numpy(np.log(np.asarray(epochs, float))),
            torch.from_numpy(np.asarray(trials)),
        )

    def _named(self, kernel: Tensor) -> dict[str, Tensor]:
        size = self.data.points.shape[1]
        names = list(PRIOR)[1:]
        return {"length": kernel[:size]} | {n: kernel[size + i] for i, n in enumerate(names)}

    def _covariance(
        self, kernel: Tensor, one: tuple[Tensor, ...], two: tuple[Tensor, ...]
    ) -> Tensor:
        (points, times, trials), (others, ends, peers) = one, two
        part = self._named(kernel)
        lengths = part["length"].exp()
        apart = torch.cdist(points / lengths, others / lengths, compute_mode=EXACT)
        far = math.sqrt(5) * apart
        like = (1 + far + far**2 / 3) * torch.exp(-far)
        recall = torch.exp(-(((times[:, None] - ends) / part["memory"].exp()) ** 2) / 2)
        share = torch.sigmoid(part["share"])
        same = (trials[:, None] == peers) & (trials[:, None] >= 0)
        return like * (share + (1 - share) * recall) + part["own"].exp() * same * recall

    def _lower(self, kernel: Tensor) -> Tensor:
        noise = self._named(kernel)["noise"].exp() + LEAST
        whole = self._covariance(kernel, self.rows, self.rows)
        lower: Tensor = torch.linalg.cholesky(whole + noise * torch.eye(len(whole)).double())
        return lower

    def _fitted(self) -> Tensor:
        """Return the kernel parameters of the highest posterior, the scale integrated out."""
        size = self.data.points.shape[1]
        from scipy.optimize import minimize  # noqa: PLC0415 - not before trials are learnt from

        centre = torch.tensor([PRIOR["length"]] * size + list(PRIOR.values())[1:]).double()
        means, widths = centre.T

        def loss(given: np.ndarray) -> tuple[float, np.ndarray]:
            kernel = torch.from_numpy(given).requires_grad_()
            lower = self._lower(kernel)
            half = torch.linalg.solve_triangular(lower, self.left[:, None], upper=False)
            count = len(self.left)
            fit = count / 2 * torch.log(((half**2).sum() + 1) / (count + 1))
            prior = (((kernel - means) / widths) ** 2).sum() / 2
            total = fit + torch.log(torch.diagonal(lower)).sum() + prior
            (slope,) = torch.autograd.grad(total, kernel)
            return float(total.detach()), slope.numpy()

        bounds = list(zip(*(means - BOUND * widths, means + BOUND * widths), strict=True))
        found = minimize(
            loss,
            means.numpy(),
            jac=True,
            method="L-BFGS-B",
            bounds=[(float(low), float(high)) for low, high in bounds],
            options={"maxiter": OPTIMISER_STEPS},
        )
        return torch.from_numpy(found.x)

    def _condition(self) -> None:
        with torch.no_grad():
            self.lower = self._lower(self.kernel)
            half = torch.linalg.solve_triangular(self.lower, self.left[:, None], upper=False)
            self.scale = float(((half**2).sum() + 1) / (len(self.left) + 1))
            self.weights = torch.linalg.solve_triangular(self.lower.T, half, upper=True)[:, 0]


def mean_curve(data: CurveData) -> dict[float, float]:
    """Return the mean curve at the epochs of `data`: gains between epochs, averaged and added up.

    Few trials reach late epochs, and these are good ones: their values' mean would be too high.
    """
    curves: dict[int, dict[float, float]] = {}
    for trial, epoch, value in zip(data.trials, data.epochs, data.values, strict=True):
        curves.setdefault(int(trial), {})[float(epoch)] = float(value)
    gains: dict[float, list[float]] = {}
    firsts: dict[float, list[float]] = {}
    for curve in curves.values():
        known = sorted(curve)
        firsts.setdefault(known[0], []).append(curve[known[0]])
        for one, two in pairwise(known):
            steps = (curve[two] - curve[one]) / (two - one)
            gains.setdefault(two, []).append(steps)
    epochs = sorted({float(epoch) for epoch in data.epochs})
    start = epochs[0]
    means = {start: sum(firsts[start]) / len(firsts[start])}
    for one, two in pairwise(epochs):
        rise = sum(gains[two]) / len(gains[two]) if two in gains else 0.0
        means[two] = means[one] + rise * (two - one)
    return means


def expected_improvement(mean: Vector, spread: Vector, best: float) -> Vector:
    """Return how much a value of this mean and standard deviation is expected to exceed `best`."""
    far = (mean - best) / spread
    density = np.exp(-(far**2) / 2) / math.sqrt(2 * math.pi)
    return np.asarray(spread * (far * ndtr(far) + density))

"""Baselines: three linear models on the same features and the same split, tuned on validation."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from drmn.compiler import defer_compiler
from drmn.data.splits.development import Development
from drmn.evaluation import calibration
from drmn.evaluation.carrying import kept_share
from drmn.evaluation.ensemble import Rule
from drmn.evaluation.pooled_features import (
    Pooling,
    Pools,
    Problem,
    Signatures,
    poolings,
    pools_of,
    problem_of,
)
from drmn.evaluation.validation import Predictions, conventional, figures_at

POWERS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""Powers of ten tried for each regulariser; that of features is multiplied by the images. Those
half a power beside the best ones are tried too."""
SOFTMAX_POWERS = (-0.5, -1.0, -1.5, -2.0, -2.5, -3.0, -3.5)
"""Powers of ten of the softmax model's regulariser, each fitted from the weights of the last."""
STEPS = 40
"""Iterations of L-BFGS for each of these."""
SCALE = 5.0
"""Factor of the softmax model's logits; a regulariser takes its place, so it is not searched."""

Powers = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Scoring:
    """Scores of classes, from the attributes predicted for an image."""

    centred: bool
    """Whether a class's attributes are its difference from the mean seen class."""
    cosine: bool
    """Whether scores are cosines, rather than products."""


SCORINGS = tuple(Scoring(*both) for both in product((False, True), repeat=2))


@dataclass(frozen=True, slots=True)
class Baseline:
    """The best model of a kind on validation."""

    name: str
    metrics: dict[str, float]
    levels: str
    settings: dict[str, Any]
    """What was chosen: pooling, scoring, and powers of ten of the regularisers."""
    candidates: int
    """Number of models of this kind that were tried on validation."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A model, and its scores of the validation images."""

    scoring: Scoring
    powers: Powers
    scores: Float[Tensor, "image class"]


Solver = Callable[[Problem, Scoring, Iterable[Powers]], Iterator[Candidate]]


def fit_baselines(data: Development) -> list[Baseline]:
    """Return the best model of each kind by validation H, chosen as DRMN's settings are.

    Each is fitted to standardised features, of the last level alone and of all levels together,
    with and without maxima and unit length, and judged with calibrated stacking.
    """
    searches = [_Search(name, *KINDS[name]) for name in KINDS]
    pools = pools_of(data)
    for pooling in poolings(data, pools):
        problem = problem_of(data, pools, pooling)
        for search in searches:
            search.try_decades(problem, pooling)
    chosen = [search.refined(data, pools) for search in searches]
    best = max(searches, key=lambda search: search.value)
    return [*chosen, _softmax(data, pools, best.pooling)]


def strongest(found: Sequence[Baseline]) -> Baseline:
    """Return the baseline of the highest validation H."""
    return max(found, key=lambda line: line.metrics["val/H"])


class _Search:
    """The best of the models of a closed form so far."""

    def __init__(self, name: str, solve: Solver, scorings: Sequence[Scoring], powers: int) -> None:
        self.name, self.solve, self.scorings = name, solve, scorings
        self.grid = list(product(POWERS, repeat=powers))
        self.value, self.tried = -1.0, 0
        self.pooling: Pooling
        self.best: Candidate

    def try_decades(self, problem: Problem, pooling: Pooling) -> None:
        """Try all whole powers of ten on these features."""
        for scoring in self.scorings:
            self._try(problem, pooling, scoring, self.grid)

    def refined(self, data: Development, pools: Pools) -> Baseline:
        """Try half powers beside the best whole ones, and return the best of all."""
        problem = problem_of(data, pools, self.pooling)
        beside = product(*[(power - 0.5, power, power + 0.5) for power in self.best.powers])
        self._try(
            problem, self.pooling, self.best.scoring, [p for p in beside if p != self.best.powers]
        )
        metrics = _judged(self.best.scores, problem)
        return _baseline(self.name, metrics, self.pooling, self.best, self.tried)

    def _try(
        self, problem: Problem, pooling: Pooling, scoring: Scoring, grid: Sequence[Powers]
    ) -> None:
        self.tried += len(grid)
        for candidate in self.solve(problem, scoring, grid):
            value = _harmonic(candidate.scores, problem)
            if value > self.value:
                self.value, self.pooling, self.best = value, pooling, candidate


def _baseline(
    name: str, metrics: dict[str, float], pooling: Pooling, best: Candidate, tried: int
) -> Baseline:
    settings = {**asdict(pooling), **asdict(best.scoring), "powers": list(best.powers)}
    levels = "+".join(map(str, settings.pop("levels")))
    return Baseline(name, metrics, levels, settings, tried)


def _harmonic(scores: Tensor, problem: Problem) -> float:
    leads = calibration.reduce(scores, problem.val_labels, problem.seen)
    return calibration.at(leads, calibration.choose_gamma(leads)[0]).harmonic


def _judged(scores: Tensor, problem: Problem) -> dict[str, float]:
    made = Predictions(scores, None, problem.val_labels, frozenset({"val"}))
    leads = calibration.reduce(scores, problem.val_labels, problem.seen)
    gamma, _ = calibration.choose_gamma(leads)
    found = figures_at(leads, conventional(made, problem.seen), gamma)
    kept = kept_share(leads.lead[~leads.unseen], Rule("logits", gamma=gamma))
    return found | {"val/beta": 0.0, "val/delta": 0.0, "val/kept": kept}


# Closed forms


def eszsl(problem: Problem, scoring: Scoring, grid: Iterable[Powers]) -> Iterator[Candidate]:
    r"""Yield ESZSL's model for each pair of powers.

    Romera-Paredes and Torr, ICML 2015: $V = (X^\top X + \gamma I)^{-1} X^\top Y S
    (S^\top S + \lambda I)^{-1}$ with features X, attributes S of the seen classes, and Y 1 at an
    image's class and -1 elsewhere. Both matrices are diagonalised once for all regularisers.
    """
    every = problem.signatures(centred=scoring.centred)
    signatures = every[problem.seen]
    targets = torch.full((len(problem.train), len(signatures)), -1.0, dtype=torch.double)
    targets[torch.arange(len(targets)), problem.labels] = 1.0
    features = problem.axes
    values, axes = torch.linalg.eigh(signatures.T @ signatures)
    cross = features.axes.T @ (problem.train.T @ targets @ signatures) @ axes
    classes = every @ axes
    predicted: dict[float, Tensor] = {}
    for p, q in grid:
        if p not in predicted:
            predicted[p] = (features.val / (features.values + len(targets) * 10.0**p)) @ cross
        found = predicted[p] / (values + 10.0**q)
        yield Candidate(scoring, (p, q), _scores(found, classes, scoring))


def ridge(problem: Problem, scoring: Scoring, grid: Iterable[Powers]) -> Iterator[Candidate]:
    r"""Yield ridge regression onto the attributes of an image's class, for each power.

    $W = (X^\top X + \gamma I)^{-1} X^\top (Z_y - \bar z)$ with the mean $\bar z$ of the seen
    classes: what all classes share distinguishes none of them.
    """
    every = problem.signatures(centred=scoring.centred)
    targets = problem.signatures(centred=True)[problem.labels]
    features = problem.axes
    cross = features.axes.T @ (problem.train.T @ targets)
    for (p,) in grid:
        found = (features.val / (features.values + len(targets) * 10.0**p)) @ cross
        yield Candidate(scoring, (p,), _scores(found, every, scoring))


def _scores(found: Tensor, classes: Signatures, scoring: Scoring) -> Tensor:
    if not scoring.cosine:
        return found @ classes.T
    return F.normalize(found, dim=1) @ F.normalize(classes, dim=1).T


KINDS: Mapping[str, tuple[Solver, Sequence[Scoring], int]] = {
    "ESZSL": (eszsl, SCORINGS, 2),
    "cosine": (ridge, [Scoring(centred=True, cosine=True)], 1),
}
"""Solver of each closed form, scorings it is tried with, and the number of its regularisers."""


# Softmax


def _softmax(data: Development, pools: Pools, pooling: Pooling) -> Baseline:
    """Return the best softmax model, on the features of the best closed form."""
    problem = problem_of(data, pools, pooling)
    tried = list(bilinear(problem))
    best = max(tried, key=lambda candidate: _harmonic(candidate.scores, problem))
    return _baseline("softmax", _judged(best.scores, problem), pooling, best, len(tried))


def bilinear(problem: Problem, powers: Sequence[float] = SOFTMAX_POWERS) -> Iterator[Candidate]:
    r"""Yield a bilinear compatibility $x^\top W z_c$ trained by cross-entropy, for each power.

    The mean cross-entropy over the seen classes plus $\lambda \lVert W \rVert^2$ is convex, so the
    weights depend on no random start. Class attributes are centred and of unit length: it is DRMN
    without attention, interaction and global branch.
    """
    scoring = Scoring(centred=True, cosine=False)
    classes = F.normalize(problem.signatures(centred=True), dim=1).float()
    train, val = problem.train.float(), problem.val.float()
    defer_compiler()
    weights = torch.zeros(train.shape[1], classes.shape[1], requires_grad=True)
    for power in powers:
        optimizer = torch.optim.LBFGS([weights], max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss(decay: float = 10.0**power) -> Tensor:
            weights.grad = None
            logits = SCALE * (train @ weights) @ classes[problem.seen].T
            value = F.cross_entropy(logits, problem.labels) + decay * weights.square().sum()
            value.backward()
            return value

        optimizer.step(loss)
        yield Candidate(scoring, (power,), (val @ weights.detach() @ classes.T).double())

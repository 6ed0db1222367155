r"""Calibrated stacking, exactly: every reachable (S, U), the optimum of H, and AUSUC.

With scores $s_c - \gamma [c \text{ seen}]$ an image is classified as seen iff its best seen score
leads its best unseen score by more than $\gamma$. Only that lead and whether either side's best is
right matter, so S and U are step functions of $\gamma$: sort once, sweep once.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drmn.evaluation.metrics import class_weights, harmonic_mean, harmonic_means

SMOOTH = 0.45
"""Width of the logistic that replaces the step when gamma is chosen, in standard deviations of the
leads; 0.3 to 0.6 do equally well on the official splits."""
CANDIDATES = 128
RESAMPLES = 200


@dataclass(frozen=True, slots=True, eq=False)
class Leads:
    """Images of both kinds, reduced to the values that decide accuracy as a function of gamma.

    Images that are wrong on their own side are wrong at every gamma; their weight is 0. Those of
    several rules for the same images may stand in one table.
    """

    lead: Float[Tensor, "*rule image"]
    """Best seen score minus best unseen score."""
    unseen: Bool[Tensor, " image"]
    """Whether the image is of an unseen class."""
    weight: Float[Tensor, "*rule image"]
    """Contribution of the image to its side's class-averaged accuracy while on that side."""
    labels: Int[Tensor, " image"]

    def __getitem__(self, rule: int) -> "Leads":
        """Return the leads of one of several rules."""
        return replace(self, lead=self.lead[rule], weight=self.weight[rule])


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Seen and unseen accuracy on each interval of gamma between two steps, from low to high."""

    gamma: Float[Tensor, " interval"]
    """A point inside each interval: its midpoint, or 1 beyond the outermost step."""
    seen: Float[Tensor, " interval"]
    unseen: Float[Tensor, " interval"]

    @property
    def harmonic(self) -> Float[Tensor, " interval"]:
        """H on each interval."""
        return harmonic_means(self.unseen, self.seen)

    @property
    def ausuc(self) -> float:
        """The area under the curve of unseen over seen accuracy, all gamma."""
        return float(-torch.trapezoid(self.unseen, self.seen))


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Generalised zero-shot accuracy at one gamma."""

    gamma: float
    seen: float
    unseen: float

    @property
    def harmonic(self) -> float:
        """H = 2US / (U + S)."""
        return harmonic_mean(self.unseen, self.seen)


Best = tuple[Float[Tensor, "*#rule image"], Int[Tensor, "*#rule image"]]
"""The best score of each image among the classes of one kind, and that class's place among them."""


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """Labels of images, divided into those of seen and of unseen classes."""

    labels: Int[Tensor, " image"]
    unseen: Bool[Tensor, " image"]
    """Whether the image is of an unseen class."""
    place: Int[Tensor, " image"]
    """Place of its class among the classes of that kind."""
    weight: Float[Tensor, " image"]
    """Contribution of the image to its side's class-averaged accuracy if it is right."""

    @classmethod
    def of(cls, labels: Int[Tensor, " image"], seen: Bool[Tensor, " class"]) -> "Sides":
        """Return the sides of images with these labels."""
        unseen = ~seen[labels]
        place = torch.where(seen, seen.cumsum(0), (~seen).cumsum(0)) - 1
        weight = torch.empty(len(labels), dtype=torch.double)
        for side in (unseen, ~unseen):
            weight[side] = class_weights(labels[side])
        return cls(labels, unseen, place[labels], weight)

    def leads(self, seen: Best, unseen: Best) -> Leads:
        """Return the leads of the best seen over the best unseen scores."""
        right = torch.where(self.unseen, unseen[1], seen[1]) == self.place
        return Leads((seen[0] - unseen[0]).double(), self.unseen, self.weight * right, self.labels)


def reduce(
    scores: Float[Tensor, "image class"],
    labels: Int[Tensor, " image"],
    seen: Bool[Tensor, " class"],
) -> Leads:
    """Reduce scores over all classes to leads."""
    return Sides.of(labels, seen).leads(scores[:, seen].max(dim=1), scores[:, ~seen].max(dim=1))


def seen_unseen_curve(leads: Leads) -> Curve:
    """Return every reachable pair of accuracies; equal leads make one step."""
    counted = leads.weight > 0
    steps, place = leads.lead[counted].unique(return_inverse=True)
    weight, unseen = leads.weight[counted], leads.unseen[counted]
    zero = torch.zeros(len(steps), dtype=torch.double)
    lost = zero.index_add(0, place, weight * ~unseen)  # a rising gamma passes a lead: S falls ...
    won = zero.index_add(0, place, weight * unseen)  # ... or U rises
    start = torch.zeros(1, dtype=torch.double)
    seen = lost.sum() - torch.cat([start, lost.cumsum(0)])
    if not len(steps):
        return Curve(start, seen.clamp(min=0), start)
    middle = (steps[1:] + steps[:-1]) / 2
    gamma = torch.cat([steps[:1] - 1, middle, steps[-1:] + 1])
    return Curve(gamma, seen.clamp(min=0), torch.cat([start, won.cumsum(0)]))


def optimum(curve: Curve) -> OperatingPoint:
    """Return the exact best H over all gamma; the lowest gamma if several are equal."""
    best = int(curve.harmonic.argmax())
    return OperatingPoint(*(float(part[best]) for part in (curve.gamma, curve.seen, curve.unseen)))


def at(leads: Leads, gamma: float) -> OperatingPoint:
    """Return the exact outcome at `gamma`: an image counts as seen iff its lead is larger."""
    hit = leads.weight * ((leads.lead > gamma) != leads.unseen)
    return OperatingPoint(gamma, float(hit[~leads.unseen].sum()), float(hit[leads.unseen].sum()))


def choose_gamma(leads: Leads) -> tuple[float, float]:
    """Return gamma by the smoothed rule, and the smoothed H it was chosen for.

    The exact optimum overfits few validation images; with the step replaced by a logistic of
    `SMOOTH` standard deviations the choice loses less on other classes. The outcome to report is
    the exact one at this gamma (`at`).
    """
    width = _width(leads)
    counted = leads.weight > 0
    if not counted.any():
        return 0.0, 0.0
    right = (leads.lead, leads.unseen, leads.weight, leads.labels)
    leads = Leads(*(part[counted] for part in right))
    grid = leads.lead.quantile(torch.linspace(0, 1, CANDIDATES, dtype=torch.double))
    best = int(_smoothed(leads, grid, width).argmax())
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    finer = torch.linspace(float(low), float(high), CANDIDATES // 4, dtype=torch.double)
    values = _smoothed(leads, finer, width)
    return float(finer[values.argmax()]), float(values.max())


def smoothed(leads: Leads, gamma: float) -> Float[Tensor, "*rule"]:
    """Return H of each rule at `gamma` with the step replaced by a logistic."""
    return _smoothed(leads, torch.tensor([gamma], dtype=torch.double), _width(leads))[..., 0]


def _width(leads: Leads) -> Float[Tensor, "*rule 1"]:
    return (SMOOTH * leads.lead.std(dim=-1, correction=0, keepdim=True)).clamp(min=1e-12)


def _smoothed(
    leads: Leads, gamma: Float[Tensor, " candidate"], width: Float[Tensor, "*rule 1"]
) -> Float[Tensor, "*rule candidate"]:
    passed = torch.sigmoid((leads.lead[..., None, :] - gamma[:, None]) / width[..., None])
    sides = torch.stack([leads.weight * ~leads.unseen, leads.weight * leads.unseen], dim=-1)
    kept, lost = (passed @ sides).unbind(dim=-1)
    return harmonic_means((sides[..., 1].sum(dim=-1, keepdim=True) - lost).clamp(min=0), kept)


def standard_error(leads: Leads, gamma: float) -> float:
    """Return the standard deviation of H at `gamma` over resamples of the classes.

    Classes, not images, are what a zero-shot result generalises over; each side keeps its number
    of classes. Always the same resamples for the same classes, so settings compare fairly.
    """
    chance = torch.Generator().manual_seed(0)
    right = leads.weight * ((leads.lead > gamma) != leads.unseen)
    sides = [_resampled(right[m], leads.labels[m], chance) for m in (leads.unseen, ~leads.unseen)]
    return float(harmonic_means(*sides).std())


def _resampled(right: Tensor, labels: Tensor, chance: torch.Generator) -> Tensor:
    names, place = labels.unique(return_inverse=True)
    share = torch.zeros(len(names), dtype=torch.double).index_add(0, place, right)
    even = torch.ones(RESAMPLES, len(names))
    drawn = even.multinomial(len(names), replacement=True, generator=chance)
    return share[drawn].sum(dim=1)

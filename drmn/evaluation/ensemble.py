"""Ensemble of the two branches, with calibration of seen classes: a rule, chosen on validation.

Four formulas for a point that the paper leaves open (docs/paper.md, row ENS). In each, images are
judged with calibrated stacking by gamma; beta, gamma and delta come from validation scores.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from drmn.config import Formula
from drmn.evaluation import calibration
from drmn.evaluation.calibration import Leads, Sides

SHARES = tuple(i / 20 for i in range(20))
"""Weights of the global branch that are tried; at 1 unseen classes would have no probability."""
BONUSES = 16
"""Deltas that are tried lie at so many quantiles of the lead of seen over unseen logits: at beta 0
a delta changes exactly the images whose lead is smaller, whatever the logits' scale."""
SMALLEST = 1e-300
"""A probability that is no smaller has a finite logarithm."""

Logits = Float[Tensor, "image class"]
Seen = Bool[Tensor, " class"]


@dataclass(frozen=True, slots=True)
class Rule:
    r"""A rule for scoring classes.

    mixture: $P(c) = (1-\beta) \operatorname{softmax}(o)_c + \beta \operatorname{softmax}(g)_c
    [c \text{ seen}]$; log_mixture: $\log P(c)$ of that; bonus: the
    mixture of $o + \delta\,[c \text{ unseen}]$, without $\gamma$;
    logits: $(1-\beta)\, o_c + \beta\, g_c [c \text{ seen}]$. All less $\gamma\,[c \text{ seen}]$.
    """

    formula: Formula = "mixture"
    beta: float = 0.0
    """The weight of the global branch."""
    gamma: float = 0.0
    """Subtracted from the scores of seen classes."""
    delta: float = 0.0
    """Added to the logits of unseen classes."""

    def scores(
        self, class_logits: Logits, global_logits: Float[Tensor, "image seen"] | None, seen: Seen
    ) -> Logits:
        """Return scores of all classes, the largest of which is the prediction.

        Args:
            class_logits: o, logits of the attribute branch.
            global_logits: g, logits of the global branch over the seen classes; None without one.
            seen: Which classes are seen.
        """
        return self.mixed(self.own(class_logits, seen), self.other(global_logits), seen)

    def probabilities(
        self, class_logits: Logits, global_logits: Float[Tensor, "image seen"] | None, seen: Seen
    ) -> Logits:
        """Return both branches' probability of each class, without gamma."""
        mixed = replace(self, gamma=0.0).scores(class_logits, global_logits, seen)
        if self.formula == "log_mixture":
            return mixed.exp()
        return mixed.softmax(dim=-1) if self.formula == "logits" else mixed

    def own(self, class_logits: Logits, seen: Seen) -> Logits:
        """Return the attribute branch's part: it depends on delta, not on beta or gamma."""
        logits = class_logits.double()
        return logits if self.formula == "logits" else (logits + self.delta * ~seen).softmax(dim=-1)

    def other(self, global_logits: Tensor | None) -> Tensor | None:
        """Return the global branch's part: it depends on none of the three numbers."""
        if global_logits is None:
            return None
        logits = global_logits.double()
        return logits if self.formula == "logits" else logits.softmax(dim=-1)

    def mixed(self, own: Logits, other: Tensor | None, seen: Seen) -> Logits:
        """Return the scores of both parts together."""
        mixed = (1 - self.beta) * own
        if other is not None:
            mixed[:, seen] = own[:, seen].lerp(other, self.beta)
        return self.scaled(mixed) - self.gamma * seen

    def scaled(self, mixed: Tensor) -> Tensor:
        """Return what gamma is subtracted from: a probability, its logarithm, or a logit."""
        return mixed.clamp(min=SMALLEST).log() if self.formula == "log_mixture" else mixed


def rule_of(formula: Formula, metrics: Mapping[str, float]) -> Rule:
    """Return the rule in an epoch's metrics."""
    return Rule(formula, metrics["val/beta"], metrics["val/gamma"], metrics["val/delta"])


def choose_rule(
    formula: Formula, class_logits: Logits, global_logits: Tensor | None, labels: Tensor, seen: Seen
) -> tuple[Rule, Leads]:
    """Return the rule of the best smoothed H, with the leads it gives before gamma.

    The smaller beta wins a tie. "bonus" predicts the largest P, so its step is at 0, and the width
    of the logistic in its place follows the spread of the leads of P at that beta and delta: each
    pair is evaluated by itself, as a delta inside a softmax has no exact sweep as gamma has.
    """
    other, sides = Rule(formula).other(global_logits), Sides.of(labels, seen)
    tried = []
    for delta in _deltas(class_logits, seen) if formula == "bonus" else [0.0]:
        rule = Rule(formula, delta=delta)
        leads = _leads(rule, rule.own(class_logits, seen), other, sides, seen)
        found = (
            [(0.0, value) for value in calibration.smoothed(leads, 0.0).tolist()]
            if formula == "bonus"
            else [calibration.choose_gamma(leads[place]) for place in range(len(leads.lead))]
        )
        best = max(range(len(found)), key=lambda place: found[place][1])
        gamma, value = found[best]
        chosen = replace(rule, beta=SHARES[best], gamma=gamma)
        tried.append((value, -chosen.beta, chosen, leads[best]))
    _, _, rule, leads = max(tried, key=lambda row: row[:2])
    return rule, leads


def _leads(rule: Rule, own: Logits, other: Tensor | None, sides: Sides, seen: Seen) -> Leads:
    """Return the leads that the rule gives before gamma with each of SHARES as its beta.

    Only the scores of seen classes depend on beta in more than a factor, and their table has one
    place in memory for all: the time of this is that of memory.
    """
    known, (lead, guess) = own[:, seen], own[:, ~seen].max(dim=1)
    shares = SHARES[:1] if other is None else SHARES
    mixed = torch.empty_like(known)
    best = [
        torch.lerp(known, known if other is None else other, beta, out=mixed).max(dim=1)
        for beta in shares
    ]
    top, place = (torch.stack(part) for part in zip(*best, strict=True))
    unseen = rule.scaled((1 - torch.tensor(shares, dtype=torch.double)[:, None]) * lead)
    return sides.leads((rule.scaled(top), place), (unseen, guess))


def _deltas(class_logits: Logits, seen: Seen) -> list[float]:
    lead = class_logits[:, seen].amax(dim=1) - class_logits[:, ~seen].amax(dim=1)
    places = torch.linspace(0, 1, BONUSES, dtype=torch.double)
    deltas: list[float] = lead.double().quantile(places).tolist()
    return deltas

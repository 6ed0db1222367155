"""Rules chosen on some classes and carried to others, such as from validation to test.

Numbers of classes differ, and refitting shifts scores, so gamma is not carried as a number. What is
carried is the share of held-out images of seen classes that gamma lets pass as seen; gamma for
other classes is the quantile of the same share. docs/protocol.md ("Carrying") has what each way
loses.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from drmn.config import Formula
from drmn.evaluation.ensemble import Logits, Rule, Seen

Own = Float[Tensor, " image"]


@dataclass(frozen=True, slots=True)
class CarriedRule:
    """A rule for scoring classes, without a number that depends on what the classes are."""

    formula: Formula
    beta: float
    """The weight of the global branch."""
    kept: float
    """Share of held-out images of seen classes whose lead exceeds gamma (bonus: delta)."""

    def rule(self, leads: Own) -> Rule:
        """Return the rule for networks that give held-out images of seen classes these leads."""
        number = float(leads.double().quantile(1 - self.kept))
        return with_threshold(Rule(self.formula, self.beta), number)


def threshold(rule: Rule) -> float:
    """Return the number that holds seen classes back: gamma, or delta of `bonus`."""
    return rule.delta if rule.formula == "bonus" else rule.gamma


def with_threshold(rule: Rule, number: float) -> Rule:
    """Return a rule with another such number."""
    bonus = rule.formula == "bonus"
    return replace(rule, delta=number) if bonus else replace(rule, gamma=number)


def leads_before(rule: Rule, class_logits: Logits, global_logits: Tensor | None, seen: Seen) -> Own:
    """Return the lead of the best seen over the best unseen class of each image, before gamma.

    Of `bonus` it is that of the logits before delta.
    """
    scores = (
        class_logits.double()
        if rule.formula == "bonus"
        else replace(rule, gamma=0.0).scores(class_logits, global_logits, seen)
    )
    return scores[:, seen].amax(dim=1) - scores[:, ~seen].amax(dim=1)


def kept_share(leads: Own, rule: Rule) -> float:
    """Return the share of images of seen classes, of these leads, that a rule lets pass as seen."""
    return float((leads > threshold(rule)).double().mean())


def mean_rule(formula: Formula, rules: Iterable[tuple[float, float]]) -> CarriedRule:
    """Return the rule of the mean beta and share of several pairs of them."""
    betas, kept = torch.tensor(list(rules), dtype=torch.double).mean(dim=0).tolist()
    return CarriedRule(formula, betas, kept)

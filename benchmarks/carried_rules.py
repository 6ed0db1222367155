"""Rules for seen and unseen classes, chosen on one network and carried to others."""

import statistics
from collections.abc import Sequence
from dataclasses import replace

import torch
from divided_training import Made
from torch import Tensor

from drmn.config import Formula
from drmn.evaluation import calibration
from drmn.evaluation.carrying import leads_before, threshold, with_threshold
from drmn.evaluation.ensemble import Rule, choose_rule
from drmn.evaluation.validation import seen_leads

CARRYING = ("value", "mean", "scaled", "quantile", "cross-fitted")


def chosen(formula: Formula, made: Made) -> Rule:
    """Return the rule that is chosen on these validation images."""
    found = made.found
    return choose_rule(
        formula, found.class_logits, found.global_logits, found.labels, made.classes.seen
    )[0]


def of_seen(rule: Rule, made: Made) -> Tensor:
    """Return the leads of the images of seen classes, before the threshold."""
    return seen_leads(made.found, made.classes.seen, rule)


def harmonic(rule: Rule, made: Made) -> float:
    """Return H on the images of both kinds."""
    found, seen = made.found, made.classes.seen
    scores = replace(rule, gamma=0.0).scores(found.class_logits, found.global_logits, seen)
    return calibration.at(calibration.reduce(scores, found.labels, seen), rule.gamma).harmonic


def oracle(rule: Rule, made: Made) -> float:
    """Return H at the best threshold for these images, beta as it is."""
    found, seen = made.found, made.classes.seen
    if rule.formula != "bonus":
        scores = replace(rule, gamma=0.0).scores(found.class_logits, found.global_logits, seen)
        leads = calibration.reduce(scores, found.labels, seen)
        return calibration.optimum(calibration.seen_unseen_curve(leads)).harmonic
    every = leads_before(rule, found.class_logits, found.global_logits, seen)
    tried = every.quantile(torch.linspace(0, 1, 41, dtype=torch.double))
    return max(harmonic(replace(rule, delta=delta), made) for delta in tried.tolist())


def carried(rule: Rule, others: Sequence[Rule], before: Made, after: Sequence[Made]) -> list[Rule]:
    """Return the rule as each way of `CARRYING` hands it on.

    Args:
        rule: The rule that was chosen.
        others: The rules of all draws, this one among them.
        before: The network that it was chosen for.
        after: Networks on the refit's classes, each with images held out.
    """
    number, own = threshold(rule), of_seen(rule, before)
    means = (
        statistics.mean(getattr(r, name) for r in others) for name in ("beta", "gamma", "delta")
    )
    mean = Rule(rule.formula, *means)
    first = of_seen(rule, after[0])
    every = torch.cat([of_seen(rule, made) for made in after])
    kept = float((own > number).double().mean())
    numbers = (
        number * float(first.std() / own.std()),
        float(first.quantile(1 - kept)),
        float(every.quantile(1 - kept)),
    )
    return [rule, mean, *(with_threshold(rule, each) for each in numbers)]

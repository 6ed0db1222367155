"""The loss terms, each a function of tensors; their weights are settings."""

import math
from collections.abc import Mapping
from dataclasses import asdict

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drmn.config import LossClasses, LossConfig, ModelConfig
from drmn.data.splits.development import Classes
from drmn.model.network import Scores, hyperspherical

Scalar = Float[Tensor, ""]


def classify(
    logits: Float[Tensor, "image class"],
    labels: Int[Tensor, " image"],
    seen: Bool[Tensor, " class"],
    candidates: LossClasses = "seen",
) -> Scalar:
    """Cross-entropy over the seen classes, which come first, or all (docs/paper.md, row L-AC)."""
    return F.cross_entropy(logits if candidates == "all" else logits[:, seen], labels)


def calibrate(logits: Float[Tensor, "image class"], seen: Bool[Tensor, " class"]) -> Scalar:
    r"""Keep some probability on the unseen classes (docs/paper.md, row L-SC).

    $$-\log \frac1n \sum_i \sum_{c \in U} \operatorname{softmax}(o_i + I)_c, \qquad
      I_c = +1 \text{ if } c \in U \text{ else } -1$$

    Works on log-probabilities throughout, so a vanishing probability gives a large loss, not inf.
    """
    shifted = logits + 1 - 2 * seen.to(logits.dtype)
    mass = shifted.log_softmax(dim=-1)[:, ~seen].logsumexp(dim=-1)  # [image], a log-probability
    return math.log(len(mass)) - mass.logsumexp(dim=0)


def regress(
    scores: Float[Tensor, "image attr"],
    attributes: Float[Tensor, "class attr"],
    labels: Int[Tensor, " image"],
) -> Scalar:
    """Squared distance of the scores' direction from the class's (docs/paper.md, row L-AR)."""
    gap = F.normalize(scores, dim=-1) - attributes[labels]
    return gap.square().sum(dim=-1).mean()


def total(
    config: LossConfig, model: ModelConfig, scores: Scores, classes: Classes, labels: Tensor
) -> tuple[Scalar, Mapping[str, Scalar]]:
    """Return the weighted sum and each unweighted term.

    The attribute terms are the mean over the features before and after the semantic interaction.
    """
    views = [view for view in (scores.attributes, scores.interacted_scores) if view is not None]
    each = [_attribute_terms(config, model, view, classes, labels) for view in views]
    terms = {name: torch.stack([part[name] for part in each]).mean() for name in each[0]}
    if scores.global_logits is not None:
        terms["global_branch"] = F.cross_entropy(scores.global_logits, labels)
    weights = {"attribute_branch": 1.0, **asdict(config)}
    weighted = [weights[name] * term for name, term in terms.items()]
    return torch.stack(weighted).sum(), terms


def _attribute_terms(
    config: LossConfig, model: ModelConfig, view: Tensor, classes: Classes, labels: Tensor
) -> dict[str, Tensor]:
    logits = hyperspherical(view, classes.attributes, model.scale)
    terms = {"attribute_branch": classify(logits, labels, classes.seen, config.classes)}
    if config.self_calibration:
        terms["self_calibration"] = calibrate(logits, classes.seen)
    if config.attribute_regression:
        terms["attribute_regression"] = regress(view, classes.attributes, labels)
    return terms

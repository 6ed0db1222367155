"""Evidence for a network's predictions: attribute scores and attention of some images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drmn.data.splits.development import Classes
from drmn.evaluation.ensemble import Rule
from drmn.level_names import LevelName
from drmn.model.network import DRMN, hyperspherical

PLAIN_RULE = Rule()


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Predictions of a network for some images, and the evidence for them."""

    answers: Int[Tensor, " image"]
    """The predicted classes, of all candidates."""
    scores: Float[Tensor, "image attr"]
    """e at unit length, as class attributes have."""
    shares: Float[Tensor, "image attr"]
    """Contribution of each attribute to the answer's cosine, as a share of all absolute ones."""
    attention: Float[Tensor, "image attr side side"]


@torch.inference_mode()
def evidence(
    model: DRMN,
    maps: Mapping[LevelName, Tensor],
    classes: Classes,
    *,
    scale: float,
    rule: Rule = PLAIN_RULE,
) -> Evidence | None:
    """Return predictions and evidence for images; None if `model` has no dual attention.

    The model is left in the mode it was in.

    Args:
        model: A trained network.
        maps: Maps of the images, by stride.
        classes: The candidates.
        scale: The paper's gamma, `model.scale`.
        rule: How classes are scored.
    """
    training, device = model.training, next(model.parameters()).device
    there = {stride: level.to(device) for stride, level in maps.items()}
    looks, said = model.eval().attention(there), model(there)
    model.train(training)
    if looks is None:
        return None
    scores = F.normalize(said.attributes.cpu(), dim=-1)
    global_logits = None if said.global_logits is None else said.global_logits.cpu()
    logits = hyperspherical(scores, classes.attributes, scale)
    answers = rule.scores(logits, global_logits, classes.seen).argmax(dim=1)
    adds = scores * classes.attributes[answers]
    side = math.isqrt(looks.shape[-1])
    return Evidence(
        answers,
        scores,
        F.normalize(adds, p=1, dim=-1),
        looks.cpu().unflatten(2, (side, side)),
    )


def strongest_attributes(
    shares: Float[Tensor, "image attr"], count: int
) -> Int[Tensor, "image chosen"]:
    """Return the attributes of the largest shares for each image; the first ones if equal."""
    return shares.argsort(dim=-1, descending=True, stable=True)[:, :count]


def has(attributes: Float[Tensor, "class attr"]) -> Bool[Tensor, "class attr"]:
    """Return which attributes a class truly has: at least half as strong as its strongest one.

    Class attributes are shares of annotators at unit length; absolute ones are no longer known.
    """
    return attributes >= attributes.amax(dim=1, keepdim=True) / 2

"""Validation of a network: its predictions for a split, and the metrics of them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from drmn import distributed
from drmn.config import FORMULAS, Formula, RunConfig
from drmn.data.imagenet import shared_classes
from drmn.data.splits.development import Classes, Fold, Images
from drmn.data.splits.division import SplitPart
from drmn.errors import DataError
from drmn.evaluation import calibration, carrying, ensemble
from drmn.evaluation.ensemble import Rule
from drmn.evaluation.metrics import per_class_accuracy
from drmn.model.finetuned import Network
from drmn.model.network import hyperspherical


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The two branches' logits for some images."""

    class_logits: Tensor
    """o: [image, class]."""
    global_logits: Tensor | None
    """g: [image, seen], or None without a global branch."""
    labels: Tensor
    parts: frozenset[SplitPart]
    """The splits that the images belong to."""

    def restricted(
        self, images: Bool[Tensor, " image"], classes: Bool[Tensor, " class"]
    ) -> "Predictions":
        """Return the logits of some images over some classes, all seen ones among them."""
        return replace(
            self,
            class_logits=self.class_logits[images][:, classes],
            global_logits=None if self.global_logits is None else self.global_logits[images],
            labels=(classes.cumsum(0) - 1)[self.labels[images]],
        )


@torch.inference_mode()
def predict(
    config: RunConfig, model: Network, splits: Sequence[Images], classes: Classes
) -> Predictions:
    """Return the logits of all images of `splits`, in their order and in float32.

    Several workers share the images, none left out or repeated; each returns all of them.
    """
    model.eval()
    made = [_logits(config, model, split, classes) for split in splits]
    class_logits, global_logits = zip(*made, strict=True)
    return Predictions(
        torch.cat(class_logits),
        None if global_logits[0] is None else torch.cat(global_logits),
        torch.cat([split.labels for split in splits]),
        frozenset(split.part for split in splits),
    )


def _logits(
    config: RunConfig, model: Network, split: Images, classes: Classes
) -> tuple[Tensor, Tensor | None]:
    device = next(model.parameters()).device
    attributes = classes.attributes.to(device)
    own: list[tuple[Tensor, Tensor | None]] = []
    mine = distributed.share(torch.arange(len(split)))
    for batch in split.stream(mine.split(config.optim.batch_size)):
        scores = model(batch.to(device).inputs)
        logits = hyperspherical(scores.attributes, attributes, config.model.scale)
        own.append(
            (logits.cpu(), None if scores.global_logits is None else scores.global_logits.cpu())
        )
    every = [pair for part in distributed.collect(own) for pair in part]
    class_logits, global_logits = zip(*every, strict=True)
    return torch.cat(class_logits), None if global_logits[0] is None else torch.cat(global_logits)


def validate(config: RunConfig, model: Network, data: Fold[Images]) -> dict[str, float]:
    """Return the validation metrics of `model`, with gamma and beta chosen for it."""
    made = predict(config, model, [data.val_seen, data.val_unseen], data.classes)
    formula = config.model.ensemble
    seen = data.classes.seen
    found = judge(made, seen, formula) | without_imagenet(made, data.classes, formula)
    if config.carried.kept < 0:
        return found
    rule = carrying.CarriedRule(formula, config.carried.beta, config.carried.kept)
    return found | by_carried_rule(made, seen, rule)


def by_carried_rule(
    made: Predictions, seen: Bool[Tensor, " class"], carried: carrying.CarriedRule
) -> dict[str, float]:
    """Return U, S and H by a rule that was chosen on other classes.

    Gamma follows from the images of seen classes alone.
    """
    rule = carried.rule(seen_leads(made, seen, Rule(carried.formula, carried.beta)))
    scores = replace(rule, gamma=0.0).scores(made.class_logits, made.global_logits, seen)
    point = calibration.at(calibration.reduce(scores, made.labels, seen), rule.gamma)
    found = {"U": point.unseen, "S": point.seen, "H": point.harmonic}
    return {f"val/{name}_carried": value for name, value in found.items()}


def seen_leads(
    made: Predictions, seen: Bool[Tensor, " class"], rule: Rule
) -> Float[Tensor, " image"]:
    """Return the leads of the images of seen classes before gamma (of `bonus`, before delta)."""
    known = seen[made.labels]
    own = None if made.global_logits is None else made.global_logits[known]
    return carrying.leads_before(rule, made.class_logits[known], own, seen)


def judge(
    made: Predictions, seen: Bool[Tensor, " class"], formula: Formula = "mixture"
) -> dict[str, float]:
    """Return the metrics of two branches, by the rule of the best smoothed H.

    `val/H_<formula>` is H by each formula's own rule, `formula` among them. `val/kept` is the share
    of the images of seen classes that gamma lets pass as seen: what is carried to a refit.

    Raises:
        DataError: The images are not for validation: nothing may be chosen on others.
    """
    if made.parts != {"val"}:
        raise DataError(
            "gamma and beta are chosen on val images alone; these are "
            f"{' and '.join(sorted(made.parts))} images."
        )
    each = {
        name: ensemble.choose_rule(name, made.class_logits, made.global_logits, made.labels, seen)
        for name in FORMULAS
    }
    rule, leads = each[formula]
    found = figures_at(leads, conventional(made, seen), rule.gamma)
    found |= {"val/beta": rule.beta, "val/delta": rule.delta}
    found["val/kept"] = carrying.kept_share(seen_leads(made, seen, rule), rule)
    for name, (own, own_leads) in each.items():
        found[f"val/H_{name}"] = calibration.at(own_leads, own.gamma).harmonic
    return found


def without_imagenet(made: Predictions, classes: Classes, formula: Formula) -> dict[str, float]:
    """Return H and gamma without the unseen classes that ImageNet has too, by name.

    A backbone that was trained on ImageNet knows these by sight, as it knows no test class, so what
    is chosen on them may suit them better. Empty where there are none, or but one other.
    """
    shared = set(shared_classes(itertools.compress(classes.names, ~classes.seen)))
    kept = classes.seen | torch.tensor([name not in shared for name in classes.names])
    if not shared or int((kept & ~classes.seen).sum()) < 2:
        return {}
    left = made.restricted(kept[made.labels], kept)
    rule, leads = ensemble.choose_rule(
        formula, left.class_logits, left.global_logits, left.labels, classes.seen[kept]
    )
    return {
        "val/H_without_imagenet": calibration.at(leads, rule.gamma).harmonic,
        "val/gamma_without_imagenet": rule.gamma,
    }


def figures_at(leads: calibration.Leads, conventional: float, gamma: float) -> dict[str, float]:
    """Return U, S and H at `gamma`, and AUSUC over all gamma, beside T1.

    `val/H_optimal` is H at the exactly best gamma for these images: an optimistic figure. It and
    AUSUC are of the curve that gamma traces. "bonus" predicts at gamma = 0 of its curve, which a
    gamma subtracted from its probabilities traces at the chosen beta and delta.
    """
    curve, chosen = calibration.seen_unseen_curve(leads), calibration.at(leads, gamma)
    return {
        "val/T1": conventional,
        "val/U": chosen.unseen,
        "val/S": chosen.seen,
        "val/H": chosen.harmonic,
        "val/H_se": calibration.standard_error(leads, gamma),
        "val/H_optimal": calibration.optimum(curve).harmonic,
        "val/AUSUC": curve.ausuc,
        "val/gamma": gamma,
    }


def conventional(made: Predictions, seen: Bool[Tensor, " class"]) -> float:
    """Return T1: per-class accuracy on unseen images, with the unseen classes as candidates."""
    unseen = torch.arange(len(seen))[~seen]
    of_unseen = ~seen[made.labels]
    guesses = unseen[made.class_logits[of_unseen][:, ~seen].argmax(dim=1)]
    return per_class_accuracy(guesses, made.labels[of_unseen])

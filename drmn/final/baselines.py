"""The baselines, refitted on trainval and judged on the test split by DRMN's protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from drmn.config import THIRDS
from drmn.data.splits import development
from drmn.data.splits.development import Development
from drmn.evaluation.baselines import KINDS, Baseline, Candidate, Scoring, bilinear
from drmn.evaluation.carrying import leads_before
from drmn.evaluation.ensemble import Rule
from drmn.evaluation.pooled_features import Pooling, pools_of, standardised
from drmn.evaluation.validation import Predictions
from drmn.final.figures import Figures, figures
from drmn.level_names import parse_levels


@dataclass(frozen=True, slots=True)
class BaselineFigures:
    """Test figures of a baseline."""

    name: str
    validation: float
    """H on validation, by which its settings were chosen and the strongest one is named."""
    test: Figures

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"name": self.name, "val_H": self.validation, **self.test}


def refit_baselines(chosen: Sequence[Baseline], store: Path) -> list[BaselineFigures]:
    """Return the test figures of each baseline, at the settings that validation chose.

    Gamma is carried as DRMN's is: it keeps the share of held-out images of seen classes that it
    kept on validation, each third judged by a model that was not fitted to it.

    Args:
        chosen: The baselines on the search's fold.
        store: The feature store of trainval and test.
    """
    data = development.open_store(store)
    thirds = [development.open_store(store, held_out=part) for part in range(1, THIRDS + 1)]
    pools = pools_of(data)
    seen = data.classes.seen
    labels = torch.cat([data.val_seen.labels, data.val_unseen.labels])
    rows = []
    for line in chosen:
        held = torch.cat([_held_out(_scores(line, part, pools), part) for part in thirds])
        gamma = float(held.quantile(1 - line.metrics["val/kept"]))
        scores = _scores(line, data, pools)
        made = Predictions(scores, None, labels, frozenset({"test"}))
        rows.append(
            BaselineFigures(line.name, line.metrics["val/H"], figures(scores, made, gamma, seen))
        )
    return rows


def _scores(line: Baseline, data: Development, pools: Any) -> Tensor:
    """Return the scores of the images to judge by, of the model fitted to the training images."""
    levels = parse_levels(line.levels)
    settings = line.settings
    pooling = Pooling(levels, settings["maxima"], settings["unit"])
    problem = standardised(data, pools, pooling)
    powers = tuple(settings["powers"])
    found: Candidate
    if line.name in KINDS:
        scoring = Scoring(settings["centred"], settings["cosine"])
        (found,) = KINDS[line.name][0](problem, scoring, [powers])
    else:
        (found,) = bilinear(problem, powers)
    return found.scores.double()


def _held_out(scores: Tensor, data: Development) -> Tensor:
    """Return the leads of the held-out images of seen classes, which come first."""
    own = scores[: len(data.val_seen)]
    return leads_before(Rule("logits"), own, None, data.classes.seen)

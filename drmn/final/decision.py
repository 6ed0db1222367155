"""What is decided before the test split is opened: settings, epochs, rule and seeds of the refit.

The decision's digest is in the ledger's entry, so nothing of it can be changed after the opening
without being seen.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drmn.config import Formula, RunConfig
from drmn.evaluation.carrying import CarriedRule, mean_rule
from drmn.fields import flatten
from drmn.final.config import RefitConfig
from drmn.final.confirm_study import Confirmation
from drmn.io import atomic

FILE = "decision.json"


@dataclass(frozen=True, slots=True)
class Decision:
    """The settings of the refit, and the rule that its classes are scored by."""

    trial: int
    """The trial of the search that has these settings."""
    settings: Mapping[str, Any]
    """All settings of a run; `optim.epochs` is the number of epochs to train."""
    rule: CarriedRule
    seeds: int

    @property
    def digest(self) -> str:
        """16 hex digits that change with anything of it."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def write(self, folder: Path) -> None:
        """Write it into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self) | {"digest": self.digest}, indent=1)
        atomic.write(folder / FILE, text)


def decide(found: Confirmation, config: RefitConfig) -> Decision:
    """Return the decision that follows from a confirmation.

    Epochs are the median of the blocks' best epochs; beta and the share that gamma keeps are means
    over the blocks, each at the epoch that the other blocks chose.
    """
    winner = found.candidates[found.winner]
    formula: Formula = winner.settings["model.ensemble"]
    rows = found.carried(found.winner, ["val/beta", "val/kept"])
    rule = mean_rule(formula, [(row["val/beta"], row["val/kept"]) for row in rows])
    plain = flatten(RunConfig())
    own = ("block", "held_out", "fold", "seed", "carried.beta", "carried.kept")
    settings = {**winner.settings, **{name: plain[name] for name in own}}
    settings["optim.epochs"] = found.epochs(found.winner)
    return Decision(winner.trial, settings, rule, config.seeds)

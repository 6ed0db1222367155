"""The result of a finalize, as `--json` and the report have it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drmn.data.sealed import ledger
from drmn.data.sealed.hash_chain import Entry
from drmn.final.ablation import AblationRow
from drmn.final.baselines import BaselineFigures
from drmn.final.confirm_study import Confirmation
from drmn.final.context import Context
from drmn.final.decision import Decision
from drmn.final.figures import FinalFigures
from drmn.final.refit import Refit
from drmn.final.refit_data import SEALED


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FinalResult:
    """A confirmed winner, its refit, and the one test of it. Accuracies are shares of 1."""

    study: str
    dataset: str
    objective: str
    confirmation: Confirmation
    decision: Decision
    test: FinalFigures
    baselines: Sequence[BaselineFigures]
    """Empty in the fine-tuned tier of features that no baseline was fitted to."""
    openings: Sequence[Entry]
    """All openings of this test split, oldest first."""
    data: Mapping[str, Any]
    """Digests and sizes of the data."""
    ablation: Sequence[AblationRow] = ()
    """The paper's rows, of the winner; empty if none was asked for."""
    refit: Refit
    """The networks and their rule; not part of the JSON."""

    @property
    def baseline(self) -> BaselineFigures:
        """The baseline that is the strongest on validation."""
        return max(self.baselines, key=lambda line: line.validation)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        best = self.baseline
        return {
            "study": self.study,
            "dataset": self.dataset,
            "objective": self.objective,
            "winner": {
                "trial": self.decision.trial,
                "settings": dict(self.decision.settings),
                "rule": asdict(self.decision.rule),
                "decision": self.decision.digest,
            },
            "confirm": self.confirmation.plain(),
            "test": self.test.plain(),
            "baseline": {k: v for k, v in best.plain().items() if k != "val_H"},
            "baselines": [line.plain() for line in self.baselines],
            "ledger": [asdict(entry) for entry in self.openings],
            "data": dict(self.data),
            "ablation": [row.plain() for row in self.ablation],
        }


def openings(context: Context) -> list[Entry]:
    """Return all openings of the dataset's test split that the ledger has."""
    entries = ledger.verify(context.search.results / SEALED)
    return [entry for entry in entries if entry.dataset == context.search.dataset]


def model_folder(out: Path) -> Path:
    """Return the folder of the refitted model that takes photos."""
    return out / "model"

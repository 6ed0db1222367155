"""What a search came to, as `--json` writes it and the terminal shows it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from drmn.search.budget import spent
from drmn.search.rows import Metrics, Row

SHOWN = ("T1", "U", "S", "H", "AUSUC", "gamma")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The end of a search. Accuracies are shares of 1, on validation."""

    study: str
    data: str
    """The digest of data and features."""
    best: Row | None
    lines: Mapping[str, Metrics]
    """Those to beat, by name."""
    rows: list[Row]
    ended: str = ""
    """Why no more trials were begun; empty if it was stopped."""
    notes: list[str] = field(default_factory=list)
    """What is to be said of the space."""

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        best = self.best
        return {
            "study": self.study,
            "data": self.data,
            "settings": None if best is None else dict(best.settings),
            "best": None if best is None else {"trial": best.number, **figures(best.metrics)},
            "baselines": {name: figures(line) for name, line in self.lines.items()},
            "ended": self.ended,
            "spent": asdict(spent(self.rows)),
            "notes": self.notes,
            "trials": [_plain(row) for row in self.rows],
        }


def figures(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the figures of a model on validation, with H's standard error."""
    names = (*SHOWN, "H_se", "H_optimal", "beta", "delta")
    return {name: metrics[f"val/{name}"] for name in names}


def _plain(row: Row) -> dict[str, Any]:
    keys = (
        "number",
        "state",
        "cause",
        "epochs",
        "value",
        "best_epoch",
        "params",
        "checkpoint",
        "dropped",
    )
    every = asdict(row)
    return {key: every[key] for key in keys}

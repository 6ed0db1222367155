"""Result of a search or a run, as `--json` writes it and the terminal shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from drmn.experiment.train_command import Options, arguments, run_name
from drmn.flags import flag
from drmn.metric_names import COST, Metrics, figures
from drmn.search.study_totals import StudyTotals
from drmn.search.trial_summary import TrialSummary, ranking


@dataclass(frozen=True, slots=True)
class Tiers:
    """Gain of fine-tuning the backbone, for the trials that were trained again with it."""

    trials: int
    gain: float
    """Mean difference of the objective to the same settings on stored features."""
    rank_correlation: float | None
    """Spearman's, between the two tiers' values; None for fewer than three trials. They are the
    best of a search, so it is lower than over random settings."""

    def __str__(self) -> str:
        """Return it in words."""
        alike = (
            ""
            if self.rank_correlation is None
            else f", ranked alike to {self.rank_correlation:.2f}"
        )
        return (
            f"with the backbone trained along {self.trials} of the best trials gained "
            f"{100 * self.gain:+.1f} points on average{alike}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """The end of a search. Accuracies are shares of 1, on validation."""

    study: str
    data: str
    """The digest of data and features."""
    best: TrialSummary | None
    baselines: Mapping[str, Metrics]
    """Baselines by name."""
    rows: list[TrialSummary]
    ended: str = ""
    """Why no more trials were started; empty if it was stopped."""
    objective: str = "val/H"
    second_objective: str = ""
    """Another objective, if there is one."""
    notes: list[str] = field(default_factory=list)
    """What the figures do not show, and notes on the search space."""
    options: Options = field(default_factory=dict)
    """Options of `jobs/train.py` that name the data, features and workers."""
    remarks: list[str] = field(default_factory=list)
    """Lines printed about the best network."""
    settled: bool = False
    """Whether the same search would do nothing: all is trained, and MLflow has all."""

    @property
    def train_arguments(self) -> list[str]:
        """Arguments of `jobs/train.py` that train the best trial again; empty without one."""
        if self.best is None:
            return []
        options = {**self.options, "run": run_name(self.study, self.best.number)}
        return arguments(options, self.best.settings)

    @property
    def place(self) -> list[str]:
        """Arguments that say where the study is, if that is not the default."""
        given = [name for name in ("results", "storage") if name in self.options]
        return [text for name in given for text in (flag(name), self.options[name])]

    @property
    def pareto_front(self) -> list[TrialSummary]:
        """The trials that none beats in both objectives; empty with one objective."""
        if not self.second_objective:
            return []
        points = [
            (row, *objectives(row, self.second_objective))
            for row in sorted(ranking(self.rows), key=lambda row: row.number)
        ]
        return [
            row
            for row, one, two in points
            if not any(a >= one and b >= two and (a, b) != (one, two) for _, a, b in points)
        ]

    @property
    def tiers(self) -> Tiers | None:
        """How trials that were trained again compare; None without any."""
        ranked = ranking(self.rows)
        values = {row.number: row.value for row in ranked}
        again = [row for row in ranked if row.again in values]
        pairs = [(values[row.again or 0] or 0.0, row.value or 0.0) for row in again]
        if not pairs:
            return None
        differ = len(pairs) > 2 and all(len(set(tier)) > 1 for tier in zip(*pairs, strict=True))
        rank = _rank_correlation(pairs) if differ else None
        gain = sum(high - low for low, high in pairs) / len(pairs)
        return Tiers(len(pairs), gain, rank)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        best = self.best
        return {
            "study": self.study,
            "data": self.data,
            "settings": None if best is None else dict(best.settings),
            "options": dict(self.options),
            "best": None if best is None else {"trial": best.number, **figures(best.metrics)},
            "baselines": {name: figures(line) for name, line in self.baselines.items()},
            "ended": self.ended,
            "spent": StudyTotals(self.rows).spent,
            "notes": self.notes,
            "front": [row.number for row in self.pareto_front],
            "tiers": None if self.tiers is None else asdict(self.tiers),
            "trials": [_plain(row) for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class RunResult:
    """The end of a run at fixed settings. Accuracies are shares of 1, on validation."""

    run: str
    data: str
    """The digest of data and features."""
    trial: TrialSummary
    """Its only trial, with the metrics of its best epoch."""
    epochs: Mapping[int, Metrics]
    baselines: Mapping[str, Metrics]
    """Baselines by name."""
    options: Options = field(default_factory=dict)
    """Options of `jobs/train.py` that name the data, features and workers."""
    notes: list[str] = field(default_factory=list)
    """What the figures do not show."""

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        best = {"epoch": self.trial.best_epoch, **figures(self.trial.metrics)}
        return {
            "run": self.run,
            "data": self.data,
            "settings": dict(self.trial.settings),
            "options": dict(self.options),
            "best": best,
            "epochs": [{"epoch": n, **metrics} for n, metrics in sorted(self.epochs.items())],
            "baselines": {name: figures(line) for name, line in self.baselines.items()},
            "notes": self.notes,
        }


def objectives(row: TrialSummary, second: str) -> tuple[float, float]:
    """Return a trial's two objectives, either the better the larger it is."""
    two = -row.seconds / max(1, row.epochs) if second == COST else row.metrics[second]
    return row.value or 0.0, two


def _rank_correlation(pairs: Sequence[tuple[float, float]]) -> float:
    from scipy.stats import spearmanr  # noqa: PLC0415 - a second or two

    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def _plain(row: TrialSummary) -> dict[str, Any]:
    keys = (
        "number",
        "state",
        "cause",
        "epochs",
        "value",
        "best_epoch",
        "params",
        "again",
        "checkpoint",
        "dropped",
    )
    every = asdict(row)
    return {key: every[key] for key in keys}

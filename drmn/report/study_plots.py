"""A study's plots as SVG: history, settings against the objective, effects, parallel coordinates.

Each mark has a title with its trial, which a browser shows below the mouse.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from drmn.report.page_parts import short
from drmn.report.svg import Points, Scale, axes, figure, plot, ticks
from drmn.search.analysis.parameter_effects import Effect
from drmn.search.trial_summary import TrialSummary, is_better, summarize_all

KINDS = {"COMPLETE": "complete", "PRUNED": "stopped early"}
FINE_TUNED = "fine-tuned"
SMALL = (240, 200)
"""Width and height of the plot of one setting."""
GAP, PARALLEL_HEIGHT = 118, 340
"""Pixels between the axes of parallel coordinates, and their height."""
TOP, BOTTOM, LEFT = 26, 74, 40
BANDS = 5
"""Colours of parallel coordinates: the best fifth of the trials has the strongest."""


@dataclass(frozen=True, slots=True)
class History:
    """Best values of a study's trials, under their numbers in the study."""

    points: dict[str, list[tuple[int, float]]]
    """Number and value of each trial that counts, by kind."""
    best: list[tuple[int, float]]
    """Best value so far, at each trial's number."""
    winner: int
    """Number of the best trial."""


def history_of(study: optuna.Study) -> History:
    """Return the history of a study: complete and stopped trials by their best epochs."""
    points: dict[str, list[tuple[int, float]]] = {}
    line: list[tuple[int, float]] = []
    best: TrialSummary | None = None
    for row in summarize_all(study):
        if row.state not in KINDS or row.value is None:
            continue
        kind = KINDS[row.state] if row.again is None else FINE_TUNED
        points.setdefault(kind, []).append((row.number, row.value))
        best = row if is_better(row, best) else best
        line.append((row.number, (best or row).value or 0.0))
    return History(points, line, -1 if best is None else best.number)


def plot_history(history: History, objective: str) -> str:
    """Return the plot of the trials' values and the best so far, as percent."""
    steps: list[tuple[float, float]] = []
    for number, value in history.best:
        if steps:
            steps.append((number, steps[-1][1]))
        steps.append((number, 100 * value))
    marks = {k: [(float(n), 100 * v) for n, v in each] for k, each in history.points.items()}
    name = f"best so far: trial {history.winner} in the end"
    return plot({name: steps}, marks, ("trial", f"{objective}, %"), "Optimisation history")


@dataclass(frozen=True, slots=True)
class Axis:
    """The values of a setting on a line from 0 to 1."""

    name: str
    kind: BaseDistribution
    low: float
    high: float

    def place(self, value: Any) -> float:
        """Return where a value is."""
        at = self._number(value)
        return 0.5 if self.high == self.low else (at - self.low) / (self.high - self.low)

    def _number(self, value: Any) -> float:
        if isinstance(self.kind, CategoricalDistribution):
            return float(self.kind.to_internal_repr(value))
        return math.log10(value) if getattr(self.kind, "log", False) else float(value)

    def labels(self) -> list[tuple[float, str]]:
        """Return the marks of the axis: where each is, and its text."""
        if isinstance(self.kind, CategoricalDistribution):
            return [(self.place(choice), str(choice)) for choice in self.kind.choices]
        if getattr(self.kind, "log", False):
            powers = range(math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9) + 1)
            ends = [] if len(powers) > 1 else [10**self.low, 10**self.high]
            return [(self.place(v), f"{v:.3g}") for v in [*(10.0**p for p in powers), *ends]]
        return [(self.place(v), f"{v:g}") for v in ticks(self.low, self.high, 3)]


def axis_of(name: str, trials: Sequence[FrozenTrial]) -> Axis:
    """Return the axis of a setting, over its whole range in the space."""
    kind: Any = next(t.distributions[name] for t in trials if name in t.distributions)
    if isinstance(kind, CategoricalDistribution):
        return Axis(name, kind, 0.0, float(len(kind.choices) - 1))
    ends = (kind.low, kind.high)
    low, high = (math.log10(v) if kind.log else float(v) for v in ends)
    return Axis(name, kind, low, high)


def searched_settings(trials: Sequence[FrozenTrial] | Sequence[TrialSummary]) -> list[str]:
    """Return the settings that any trial has, in the order of the space."""
    return list(dict.fromkeys(name for trial in trials for name in trial.params))


def plot_slices(trials: Sequence[FrozenTrial], reached: str) -> str:
    """Return a small plot for each setting: its value against what the trials reached."""
    parts = []
    for name in searched_settings(trials):
        axis = axis_of(name, trials)
        own = [trial for trial in trials if name in trial.params]
        points = [(axis.place(t.params[name]), 100 * (t.value or 0.0)) for t in own]
        titles = [f"trial {t.number}: {name} {short(t.params[name])}" for t in own]
        parts.append(_small(axis, points, titles, reached))
    return f'<div class="small">{"".join(parts)}</div>'


def _small(axis: Axis, points: Points, titles: Sequence[str], reached: str) -> str:
    low, high = min(y for _, y in points), max(y for _, y in points)
    more = 0.05 * ((high - low) or 1.0)
    beyond = 0.14 if isinstance(axis.kind, CategoricalDistribution) else 0.04
    scale = Scale((-beyond, 1 + beyond), (low - more, high + more), *SMALL)
    drawn = [axes(scale, (axis.name, f"{reached}, %"), axis.labels(), ticks(*scale.y, 4))]
    for point, title in zip(points, titles, strict=True):
        x, y = scale.place(point)
        drawn.append(
            f'<circle class="c0 dim" cx="{x:.1f}" cy="{y:.1f}" r="3">'
            f"<title>{html.escape(title)}: {point[1]:.1f}</title></circle>"
        )
    return figure(SMALL, drawn, f"{axis.name} against {reached}")


def plot_effects(effects: Sequence[Effect]) -> str:
    """Return bars: shares of the variance of the trials' ranks, with their bounds."""
    row, left = 24, 210
    size = (640, row * len(effects) + 46)
    width = size[0] - left - 24
    most = max(0.01, *(each.high for each in effects))
    drawn = []
    for value in ticks(0.0, most, 5):
        x = left + width * value / most
        drawn.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="8" y2="{size[1] - 38}"/>')
        drawn.append(f'<text x="{x:.1f}" y="{size[1] - 22}" text-anchor="middle">{value:g}</text>')
    for number, each in enumerate(effects):
        y = 14 + row * number
        share, low, high = (
            left + width * max(0.0, v) / most for v in (each.share, each.low, each.high)
        )
        drawn.append(f'<text x="{left - 8}" y="{y + 11}" text-anchor="end">{each.name}</text>')
        drawn.append(
            f'<rect class="c0 dim" x="{left}" y="{y}" width="{share - left:.1f}" height="15">'
            f"<title>{each.share:.2f} ({each.low:.2f} to {each.high:.2f})</title></rect>"
            f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{y + 7.5}" y2="{y + 7.5}"/>'
        )
    foot = "share of the variance of the trials' ranks"
    drawn.append(f'<text x="{left + width / 2:.0f}" y="{size[1] - 4}" text-anchor="middle">')
    drawn.append(f"{foot}</text>")
    return figure(size, drawn, foot)


def plot_parallel(trials: Sequence[FrozenTrial], objective: str) -> str:
    """Return parallel coordinates: a line a trial over all settings, the best ones on top."""
    each = [axis_of(name, trials) for name in searched_settings(trials)]
    values = [trial.value or 0.0 for trial in trials]
    low, high = min(values), max(values)
    size = (LEFT * 2 + GAP * len(each), PARALLEL_HEIGHT)

    def at(column: int, share: float) -> str:
        y = size[1] - BOTTOM - share * (size[1] - TOP - BOTTOM)
        return f"{LEFT + GAP * column},{y:.1f}"

    drawn = []
    for rank, trial in enumerate(sorted(trials, key=lambda t: t.value or 0.0)):
        value = trial.value or 0.0
        share = (value - low) / ((high - low) or 1.0)
        line = [at(0, share)]
        line += [
            at(n, axis.place(trial.params[axis.name]))
            for n, axis in enumerate(each, 1)
            if axis.name in trial.params
        ]
        band = BANDS * rank // len(trials)
        drawn.append(
            f'<polyline class="line b{band}" points="{" ".join(line)}">'
            f"<title>trial {trial.number}: {100 * value:.1f}</title></polyline>"
        )
    ends = [(share, f"{100 * v:.1f}") for share, v in ((0.0, low), (1.0, high))]
    columns = [(f"{objective}, %", ends), *((axis.name, axis.labels()) for axis in each)]
    drawn += [_column(n, name, labels, size[1]) for n, (name, labels) in enumerate(columns)]
    return figure(size, drawn, "Parallel coordinates of complete trials", fixed=True)


def _column(number: int, name: str, labels: Sequence[tuple[float, str]], height: int) -> str:
    x, bottom = LEFT + GAP * number, height - BOTTOM
    parts = [f'<line class="axis" x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}"/>']
    for share, text in labels:
        y = bottom - share * (bottom - TOP) + 4
        parts.append(f'<text class="halo" x="{x + 5}" y="{y:.1f}">{html.escape(text)}</text>')
    group, _, last = name.rpartition(".")
    for line, part in enumerate(filter(None, (group, last))):
        y = bottom + 24 + 16 * line
        parts.append(f'<text x="{x}" y="{y}" text-anchor="middle">{html.escape(part)}</text>')
    return "".join(parts)

"""A study's own plots, for Matplotlib and Plotly alike: its history, and effects of settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from drmn.search.analysis.parameter_effects import Effect
from drmn.search.trial_summary import TrialSummary, is_better, summarize_all

KINDS = {"COMPLETE": "complete", "PRUNED": "stopped early"}
FINE_TUNED = "fine-tuned"


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


def plot_history(history: History, objective: str, *, interactive: bool) -> Any:
    """Return the history as Plotly's figure, or as Matplotlib's axes."""
    named = {kind: tuple(zip(*each, strict=True)) for kind, each in history.points.items()}
    best = tuple(zip(*history.best, strict=True))
    label = f"best so far: trial {history.winner} in the end"
    if interactive:
        from plotly import graph_objects as go  # noqa: PLC0415 - seconds

        figure = go.Figure()
        for kind, (numbers, values) in named.items():
            figure.add_scatter(x=numbers, y=values, mode="markers", name=kind)
        figure.add_scatter(x=best[0], y=best[1], mode="lines", line_shape="hv", name=label)
        return figure.update_layout(xaxis_title="trial", yaxis_title=objective)
    from matplotlib import pyplot as plt  # noqa: PLC0415 - seconds

    _, axes = plt.subplots()
    for kind, (numbers, values) in named.items():
        axes.scatter(numbers, values, label=kind)
    axes.step(*best, where="post", label=label)
    axes.set(xlabel="trial", ylabel=objective)
    axes.legend()
    return axes


def plot_effects(effects: Sequence[Effect], *, interactive: bool) -> Any:
    """Return shares of variance with their bounds, as Plotly's figure or Matplotlib's axes."""
    rising = list(reversed(effects))
    names, shares = [each.name for each in rising], [each.share for each in rising]
    below = [max(0.0, each.share - each.low) for each in rising]
    above = [max(0.0, each.high - each.share) for each in rising]
    title = "share of the variance of the trials' ranks"
    if interactive:
        from plotly import graph_objects as go  # noqa: PLC0415 - seconds

        bounds = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
        figure = go.Figure(go.Bar(x=shares, y=names, orientation="h", error_x=bounds))
        return figure.update_layout(xaxis_title=title)
    from matplotlib import pyplot as plt  # noqa: PLC0415 - seconds

    _, axes = plt.subplots()
    axes.barh(names, shares, xerr=[below, above], capsize=3)
    axes.set(xlabel=title)
    return axes

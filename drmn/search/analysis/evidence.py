"""Statements on what a result can show and what it cannot, from its standard error."""

from collections.abc import Mapping, Sequence

from drmn.metric_names import Metrics
from drmn.search.trial_summary import TrialSummary, ranking

FEW_CLASSES = 10
"""Unseen classes on validation below which their number is named."""


def limits(
    best: TrialSummary,
    rows: Sequence[TrialSummary],
    baselines: Mapping[str, Metrics],
    unseen: int,
) -> list[str]:
    """Return a line on each thing that the figures do not show.

    Args:
        best: The best trial, with its metrics.
        rows: All trials.
        baselines: Metrics of the baselines by name.
        unseen: Number of unseen classes on validation.
    """
    few = f"validation has {unseen} unseen classes alone: on other classes the figures may be "
    found = [f"{few}far from these"] if unseen < FEW_CLASSES else []
    others = [row for row in ranking(rows) if row.number != best.number]
    lines = {name: each["val/H"] for name, each in baselines.items()}
    value, error = best.metrics["val/H"], standard_error(best)
    every = {*lines.values(), *(row.metrics["val/H"] for row in others)}
    if lines and every <= {value}:
        alike = f"DRMN and {'all baselines' if len(lines) > 1 else 'the baseline'}"
        more = " in every trial" if others else ""
        found.append(
            f"H is {_percent(value)} for {alike}{more}: these data tell no model and no setting "
            "from another"
        )
        return found
    if lines:
        found += _against(max(lines.items(), key=lambda line: line[1]), value, error)
    near = [row for row in others if (row.value or 0.0) >= (best.value or 0.0) - error]
    if near:
        found.append(
            f"{len(near)} of {len(others)} other trials are within one standard error of the best "
            f"(± {_percent(error)}): which of them is the best is not shown"
        )
    return found


def standard_error(row: TrialSummary) -> float:
    """Return the standard error of a trial's H over classes; 0 where none was recorded."""
    return row.metrics.get("val/H_se", 0.0)


def _against(line: tuple[str, float], value: float, error: float) -> list[str]:
    """Return a line if a model of this H is not shown to beat a baseline."""
    name, rival = line
    both = f"H {_percent(value)} ± {_percent(error)}, {name} {_percent(rival)}"
    if value <= rival:
        return [f"DRMN does not beat the strongest baseline: {both}"]
    if value - rival <= error:
        return [f"DRMN is within one standard error of the strongest baseline: {both}"]
    return []


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"

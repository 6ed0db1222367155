"""Candidates for confirmation: the settings of a search that are the best by its model.

The best of many noisy values is partly luck. What counts here is the mean that a process over
settings and epochs, fitted to all trials, predicts for a trial's last epoch; with too few trials
for that, the mean over repeats of the same settings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from drmn.search.samplers.learning_curve_data import data_of, selected
from drmn.search.samplers.learning_curve_gp import LearningCurveGP
from drmn.search.samplers.unit_cube import one_hot, to_unit_point
from drmn.search.trial_summary import TrialSummary, ranking, summarize_all

FEWEST = 6
"""Trials that a process is fitted to, at least."""
NEAR = 0.05
"""Settings that differ by less than this share of their ranges count as one candidate."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Settings of a search that may be the best."""

    trial: int
    """Number of their trial; of several, the best one."""
    settings: Mapping[str, Any]
    expected: float
    """The objective as the model expects it after the last epoch."""
    found: float
    """The objective at the trial's best epoch: optimistic, as it was chosen for being high."""
    epoch_seconds: float
    beta: float
    kept: float
    """What the rule of its best epoch carries to other classes (`val/beta`, `val/kept`)."""


def find_candidates(study: optuna.Study, count: int) -> list[Candidate]:
    """Return up to `count` settings of a search, the best by its model first.

    Near-duplicates are one candidate: two of them would split the evidence for both.
    """
    rows = ranking(summarize_all(study))
    trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    expected = _expected(study, [trials[row.number] for row in rows], rows)
    order = sorted(range(len(rows)), key=lambda place: -expected[place])
    chosen: list[int] = []
    for place in order:
        own = trials[rows[place].number]
        if len(chosen) < count and not any(
            _alike(own, trials[rows[other].number]) for other in chosen
        ):
            chosen.append(place)
    return [_candidate(rows[place], expected[place]) for place in chosen]


def _candidate(row: TrialSummary, expected: float) -> Candidate:
    return Candidate(
        trial=row.number,
        settings=row.settings,
        expected=expected,
        found=row.value or 0.0,
        epoch_seconds=row.seconds / max(1, row.epochs),
        beta=row.metrics["val/beta"],
        kept=row.metrics["val/kept"],
    )


def _expected(
    study: optuna.Study, trials: Sequence[FrozenTrial], rows: Sequence[TrialSummary]
) -> list[float]:
    space = optuna.search_space.IntersectionSearchSpace(include_pruned=True).calculate(study)
    common = {name: each for name, each in space.items() if not each.single()}
    if len(trials) < FEWEST or not common:
        return [_mean_of_repeats(row, rows) for row in rows]
    last = max(max(trial.intermediate_values, default=1) for trial in trials)
    kept = selected(trials)
    process = LearningCurveGP(data_of(kept, common, last))
    places = {trial.number: place for place, trial in enumerate(kept)}
    own = np.array([places.get(trial.number, -1) for trial in trials])
    points = one_hot(to_unit_point([trial.params for trial in trials], common), common)
    means, _ = process.predict(points, last, own)
    return [float(mean) for mean in means]


def _mean_of_repeats(row: TrialSummary, rows: Sequence[TrialSummary]) -> float:
    values = [each.value or 0.0 for each in rows if each.params == row.params]
    return sum(values) / len(values)


def _alike(one: FrozenTrial, other: FrozenTrial) -> bool:
    """Return whether two points of a space differ by less than `NEAR` in every setting."""
    if one.distributions.keys() != other.distributions.keys():
        return False
    space = dict(one.distributions)
    if not space:
        return True
    first, second = one_hot(to_unit_point([one.params, other.params], space), space)
    return bool(np.abs(first - second).max() < NEAR)

"""Trials, or best settings, that a new study takes over from others.

A fork learns from its parent's trials as if they were its own, and none of them can win. A warm
start takes settings alone, and tries them itself: values of another dataset say nothing about this.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from drmn.config import RunConfig
from drmn.errors import ConfigError
from drmn.fields import flatten, with_overrides
from drmn.search.storage.studies import load_study
from drmn.search.trial_summary import ranking, summarize_all
from drmn.space import Space, ask, baseline

FIRST, INHERITED = "first", "inherited"
"""The study's attributes that hold its first points, and trials of the parent."""
MAX_WARM_STARTS = 5
"""Settings of another study that a warm start tries."""
Point = dict[str, Any]


def inherit(
    study: optuna.Study, studies: Path, *, fork: str, warm_start: str, url: str = ""
) -> None:
    """Copy trials or settings into a new study, which then does not need the others any more.

    Args:
        study: The new study; one that has trials is left as it is.
        studies: The folder of all studies.
        fork: The name of the parent, or empty.
        warm_start: The name of a study or a JSON file, or empty.
        url: URL of the database that holds all studies, if not the folder.

    Raises:
        StudyError: There is no such study.
        ConfigError: The file holds no settings.
    """
    if study.get_trials(deepcopy=False):
        return
    if fork:
        trials = load_study(studies, fork, url).get_trials(deepcopy=False)
        study.set_user_attr(INHERITED, [_row_of(t) for t in trials if t.state.is_finished()])
    if warm_start:
        study.set_user_attr(FIRST, _points(studies, warm_start, url))


def inherited_trials(study: optuna.Study, space: Space) -> list[FrozenTrial]:
    """Return the parent's trials that are points of `space` too."""
    found = (_again(row, space) for row in study.user_attrs.get(INHERITED, []))
    return [trial for trial in found if trial is not None]


def first_points(study: optuna.Study, space: Space, base: RunConfig) -> list[Point]:
    """Return the points tried before the sampler chooses: the baseline, then a warm start's.

    Each is the point of `space` nearest to the settings.
    """
    known = flatten(base).keys()
    points = [dict(baseline(space, base))]
    for params in study.user_attrs.get(FIRST, []):
        wanted = {name: value for name, value in params.items() if name in known}
        points.append(dict(baseline(space, with_overrides(base, wanted))))
    return [point for i, point in enumerate(points) if point not in points[:i]]


def _row_of(trial: FrozenTrial) -> dict[str, Any]:
    curve = {str(epoch): value for epoch, value in trial.intermediate_values.items()}
    return {"state": trial.state.name, "params": trial.params, "curve": curve}


def _again(row: Mapping[str, Any], space: Space) -> FrozenTrial | None:
    """Return a parent's trial as one of `space`, or None if it is no point of it."""
    fixed = FixedTrial(row["params"])
    curve = {int(epoch): value for epoch, value in row["curve"].items()}
    state = TrialState[row["state"]]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # out of range: `create_trial` refuses it below
            ask(space, fixed)
        return create_trial(
            state=state,
            value=max(curve.values()) if state == TrialState.COMPLETE else None,
            params=fixed.params,
            distributions=fixed.distributions,
            intermediate_values=curve,
        )
    except ValueError:  # a parameter that it lacks, or that is out of range here
        return None


def _points(studies: Path, source: str, url: str) -> list[Point]:
    """Return the best settings of a study, or those in a JSON file."""
    if not source.endswith(".json"):
        best = ranking(summarize_all(load_study(studies, source, url)))[:MAX_WARM_STARTS]
        return [dict(row.settings) for row in best]
    try:
        content = json.loads(Path(source).read_text())
        if isinstance(content, dict):  # as --json writes it
            content = [
                row["params"] for row in sorted(content["trials"], key=_rank)[:MAX_WARM_STARTS]
            ]
        return [dict(point) for point in content]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ConfigError(
            f"--warm-start {source}: {type(problem).__name__}: {problem}; give a study's name, "
            'what --json wrote, or a JSON list of settings such as [{"optim.lr": 0.001}].'
        ) from None


def _rank(trial: Mapping[str, Any]) -> tuple[bool, float]:
    return trial["state"] != TrialState.COMPLETE.name, -(trial["value"] or 0.0)

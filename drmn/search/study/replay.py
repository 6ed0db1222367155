"""Replay of a study: each trial is chosen again from the record alone."""

from collections.abc import Sequence
from datetime import datetime

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from drmn.config import RunConfig
from drmn.errors import ConfigError
from drmn.fields import with_overrides
from drmn.search.config import PolicyConfig
from drmn.search.study.given_settings import given_of, with_given
from drmn.search.study.searcher import Searcher
from drmn.search.study.warm_start import first_points, inherited_trials
from drmn.search.trial_summary import FINETUNES, times
from drmn.space import Space, ask
from drmn.space_features import HeldFeatures, on_held_features

HELD = "features"
"""Attribute of a study: what its features hold (`HeldFeatures`)."""


def policy_of(study: optuna.Study) -> tuple[RunConfig, PolicyConfig]:
    """Return a study's base settings and its policy, both from its record."""
    identity = study.user_attrs["identity"]

    def part(prefix: str) -> dict[str, object]:
        named = {k: v for k, v in identity.items() if k.startswith(prefix)}
        return {key.removeprefix(prefix): value for key, value in named.items()}

    return (
        with_overrides(RunConfig(), part("base.")),
        with_overrides(PolicyConfig(), part("policy.")),
    )


def replay(study: optuna.Study, space: Space) -> list[tuple[int, bool]]:
    """Choose each trial again from the trials and epochs known when it was chosen.

    Returns each trial's number and whether the choice is the recorded one.
    """
    base, policy = policy_of(study)
    space = with_given(space, given_of(study.user_attrs["identity"]))
    if HELD in study.user_attrs:
        space = on_held_features(space, HeldFeatures(**study.user_attrs[HELD]))
    searcher = Searcher(
        policy,
        base.seed,
        lambda trial: ask(space, trial),
        first=first_points(study, space, base),
        inherited=inherited_trials(study, space),
    )
    trials = [t for t in study.get_trials(deepcopy=False) if FINETUNES not in t.user_attrs]
    found = []
    for place, trial in enumerate(trials):
        before = trials[:place]
        if not policy.window and trial.datetime_start is not None:
            before = _then(before, trial.datetime_start)
        try:
            chosen = searcher.ask(trial.number, before)
        except ConfigError:  # so it was then
            found.append((trial.number, trial.state == TrialState.FAIL))
            continue
        found.append((trial.number, chosen is not None and trial.params == chosen.trial.params))
    return found


def _then(trials: Sequence[FrozenTrial], moment: datetime) -> list[FrozenTrial]:
    """Return trials as they were at a moment: those that ended later were running."""
    return [trial if _ended(trial, moment) else _running(trial, moment) for trial in trials]


def _ended(trial: FrozenTrial, moment: datetime) -> bool:
    return trial.datetime_complete is not None and trial.datetime_complete <= moment


def _running(trial: FrozenTrial, moment: datetime) -> FrozenTrial:
    written = {epoch for epoch, at in times(trial).items() if at <= moment.timestamp()}
    running = create_trial(
        state=TrialState.RUNNING,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values={e: v for e, v in trial.intermediate_values.items() if e in written},
    )
    running.number = trial.number
    return running

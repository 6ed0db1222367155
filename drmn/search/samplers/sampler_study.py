"""The in-memory Optuna study that a sampler chooses from."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from drmn.metric_names import COST
from drmn.search.config import PolicyConfig
from drmn.search.samplers.factory import make_sampler, sampler_spec
from drmn.search.samplers.learning_curve_sampler import KernelCache
from drmn.search.trial_summary import epochs

Answered = TypeVar("Answered")
REDRAWS = 20
"""How often a point that was tried is redrawn before it is repeated with another seed."""


class SamplerStudy:
    """A study in memory to ask for settings, with the trials that the sampler may learn from.

    It differs from the record: for the GP, which ignores pruned trials, one is complete with its
    best value so far (performance is lost otherwise: mlflow-optuna.md); a failed one is as bad as
    the worst before it, so that the sampler avoids its neighbourhood.

    Each trial is added once and its result once, so one more costs the same however many there are.

    Args:
        config: How to choose.
        seed: Seed of the study.
        inherited: Finished trials of a parent.
    """

    def __init__(
        self, config: PolicyConfig, seed: int, inherited: Sequence[FrozenTrial] = ()
    ) -> None:
        self.config, self.seed = config, seed
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # only our own lines are shown
        self.study = optuna.create_study(directions=directions(config))
        self.places: dict[int, int] = {}
        """Numbers in this study of the record's trials, by their numbers there."""
        self.added: set[int] = set()
        self.inherited = len(inherited)
        self.fits, self.order = KernelCache(), list[int]()
        self.worst: list[float] | None = None
        for trial in inherited:
            self._tell(self._enter(trial), trial)

    def ask(
        self,
        number: int,
        trials: Sequence[FrozenTrial],
        known: int | None = None,
        first: Mapping[str, Any] | None = None,
    ) -> Trial:
        """Return a trial that a space can ask for its values.

        Args:
            number: Number of the trial that is to be chosen.
            trials: Those chosen before it.
            known: How many of them may be learnt from; of the others only settings are known.
            first: Its parameters, if they are fixed.
        """
        known = len(trials) if known is None else known
        self.sync(trials, known)
        if number in self.places:  # asked before, and never written down
            self.study.tell(self.places[number], state=TrialState.FAIL)
        self.study.sampler = make_sampler(
            self.config,
            self.seed,
            number,
            self.inherited + known,
            kernels=self.fits,
            order=self.order,
        )
        if first is not None:
            self.study.enqueue_trial(dict(first))
        return self._asked(number)

    def ask_unseen(
        self,
        number: int,
        trials: Sequence[FrozenTrial],
        known: int,
        first: Mapping[str, Any] | None,
        asks: Callable[[Trial], Answered],
    ) -> tuple[Trial, Answered]:
        """Return a trial that `asks` has asked for its values, a new point if one is found.

        The second is the result of `asks`; the other arguments are those of `ask`.
        """
        tried = [trial.params for trial in trials]
        asked = self.ask(number, trials, known, first)
        made = asks(asked)
        for _ in range(REDRAWS):
            if asked.params not in tried:
                break
            self.study.tell(self.places[number], state=TrialState.FAIL)
            asked = self._asked(number)
            made = asks(asked)
        return asked, made

    def _asked(self, number: int) -> Trial:
        trial = self.study.ask()
        self.places[number] = trial.number
        return trial

    def sync(self, trials: Sequence[FrozenTrial], known: int) -> None:
        """Add the trials of the record, and of the first `known` their epochs and results."""
        for trial in trials:
            if trial.number not in self.places:
                self.places[trial.number] = self._enter(trial)
        for trial in trials[:known]:
            if trial.state == TrialState.RUNNING:
                self._report(self.places[trial.number], trial)
        news = [t for t in trials[:known] if t.state.is_finished() and t.number not in self.added]
        # In the order of arrival, so that a study that is reopened learns in the same order; with a
        # window that is the order of their numbers.
        for trial in sorted(news, key=lambda t: t.number if self.config.window else _when(t)):
            self._tell(self.places[trial.number], trial)
            self.added.add(trial.number)

    def _enter(self, trial: FrozenTrial) -> int:
        running = create_trial(
            state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions
        )
        self.study.add_trial(running)
        return len(self.study.get_trials(deepcopy=False)) - 1

    def _tell(self, place: int, trial: FrozenTrial) -> None:
        values = values_of(trial, self.config)
        if trial.state == TrialState.FAIL or values is None:
            values = self.worst if trial.params else None
        elif self.worst is None:
            self.worst = values
        else:
            pairs = zip(values, self.worst, self.study.directions, strict=True)
            self.worst = [_worse(*each) for each in pairs]
        if values is None:
            self.study.tell(place, state=TrialState.FAIL)
            return
        self.order.append(place)
        if trial.state != TrialState.FAIL:
            self._report(place, trial)
        if trial.state == TrialState.PRUNED and sampler_spec(self.config).sees_pruned:
            self.study.tell(place, state=TrialState.PRUNED)
            return
        self.study.tell(place, values)

    def _report(self, place: int, trial: FrozenTrial) -> None:
        """Report a trial's epochs, unless there are two objectives."""
        inner = self.study.get_trials(deepcopy=False)[place]
        news = trial.intermediate_values.keys() - inner.intermediate_values.keys()
        if news and len(self.study.directions) == 1:
            live = Trial(self.study, inner._trial_id)  # noqa: SLF001 - no public way
            for epoch in sorted(news):
                live.report(trial.intermediate_values[epoch], epoch)


def directions(config: PolicyConfig) -> list[StudyDirection]:
    """Return the direction of each objective."""
    names = [config.objective] + [config.second_objective] * bool(config.second_objective)
    small, large = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE
    return [small if name == COST else large for name in names]


def values_of(trial: FrozenTrial, config: PolicyConfig) -> list[float] | None:
    """Return a trial's objectives at the epoch that is best in the first; None without an epoch.

    An epoch's cost is the mean over all epochs.
    """
    curve = trial.intermediate_values
    if not curve:
        return [trial.value] if trial.value is not None else None
    best = max(curve, key=lambda epoch: (curve[epoch], -epoch))
    recorded = epochs(trial)
    if not config.second_objective:
        return [curve[best]]
    if config.second_objective == COST:
        return [curve[best], sum(each[COST] for each in recorded.values()) / len(recorded)]
    return [curve[best], float(recorded[best][config.second_objective])]


def _when(trial: FrozenTrial) -> float:
    done = trial.datetime_complete
    return done.timestamp() if done is not None else 0.0


def _worse(one: float, other: float, direction: StudyDirection) -> float:
    return max(one, other) if direction == StudyDirection.MINIMIZE else min(one, other)

"""What to try next and when to stop trying it."""

import copy
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from drmn.search.rows import bests
from drmn.search.settings import PolicyConfig

optuna.logging.set_verbosity(optuna.logging.ERROR)  # only our own lines are to be seen


def build_sampler(
    config: PolicyConfig, seed: int, number: int, known: int
) -> optuna.samplers.BaseSampler:
    """Return the sampler for trial `number`.

    Chance depends on the seed and the number alone, so a resumed study draws what an uninterrupted
    one would have drawn; one sampler for a whole study would begin again with its first points.

    Args:
        config: Which sampler, and after how many trials it follows its model.
        seed: Of the study.
        number: Of the trial.
        known: The number of trials that it may learn from.
    """
    seed = 1_000_003 * seed + number
    if config.sampler == "random" or known < config.startup_trials:
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        tpe = optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=config.startup_trials,
            group=True,  # conditional spaces: each branch is modelled with its own parameters
            constant_liar=True,
        )
        if config.sampler == "tpe":
            return tpe
        return optuna.samplers.GPSampler(
            seed=seed,
            independent_sampler=tpe,  # for what only some trials have: a GP needs all in all
            n_startup_trials=config.startup_trials,
        )


def adviser(
    trials: Sequence[FrozenTrial], config: PolicyConfig, seed: int, number: int
) -> optuna.Study:
    """Return a study in memory to ask for trial `number`: what the sampler may learn from.

    The record is honest, and a sampler wants other things: to the GP, which looks at no pruned
    trial, one is worth its best value so far (performance is lost otherwise: mlflow-optuna.md);
    a failed one is as bad as the worst, so that its neighbourhood is left.
    """
    made = optuna.create_study(
        direction="maximize", sampler=build_sampler(config, seed, number, len(trials))
    )
    values = [value for trial in trials for value in trial.intermediate_values.values()]
    worst = min(values, default=None)
    for trial in trials:
        state, value = _lesson(trial, config, worst)
        if state != TrialState.FAIL:
            made.add_trial(Lesson(trial, state, value))
    return made


class Lesson(FrozenTrial):
    """A trial as the sampler is told of it, without what it does not look at.

    Optuna copies a trial that is added, all the way down; nobody changes this one, and copying
    takes most of the time where there are thousands.
    """

    def __init__(self, trial: FrozenTrial, state: TrialState, value: float | None) -> None:
        super().__init__(
            number=trial.number,
            state=state,
            value=value,
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={},
            system_attrs={},
            intermediate_values=trial.intermediate_values,
            trial_id=trial.number,
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "Lesson":
        """Return a trial that shares what it holds with this one."""
        del memo
        return copy.copy(self)


def _lesson(
    trial: FrozenTrial, config: PolicyConfig, worst: float | None
) -> tuple[TrialState, float | None]:
    """Return the state and value that the sampler is told; FAIL if it is told nothing."""
    if trial.state == TrialState.FAIL and worst is not None and trial.params:
        return TrialState.COMPLETE, worst
    if trial.state == TrialState.PRUNED:
        value = max(bests(trial).values(), default=worst)
        gaussian = config.sampler == "gp" and value is not None
        return TrialState.COMPLETE if gaussian else TrialState.PRUNED, value
    return trial.state, trial.value


@dataclass
class Halving:
    """Asynchronous successive halving (Li et al., arXiv:1810.05934), the stopping variant.

    At each rung a trial goes on if its best value so far is in the top 1/factor of all that have
    reached the rung, itself included. The decision depends on the recorded values alone, so a
    resumed study rebuilds its rungs from the record.
    """

    first: int
    factor: int
    window: int = 0
    """With one, a trial is compared with those that are so many numbers before it, or more."""
    reached: dict[int, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    """Best value so far by rung and trial."""

    def stops(self, trial: int, epoch: int, best: float) -> bool:
        """Note that `trial` has come to `epoch`; return whether it is to stop there."""
        if not self.is_rung(epoch):
            return False
        rung = self.reached[epoch]
        rung[trial] = best
        others = [
            value
            for other, value in rung.items()
            if not self.window or other <= trial - self.window
        ]
        better = sum(value > best for value in others)
        count = len(others) + bool(self.window)  # with a window, the trial itself is not among them
        return better >= max(1, count // self.factor)

    def is_rung(self, epoch: int) -> bool:
        """Return whether trials are compared after `epoch` epochs."""
        rung = self.first
        while rung < epoch:
            rung *= self.factor
        return rung == epoch

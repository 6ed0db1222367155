"""The searcher of a study: what to try next, and when a trial stops. It holds no storage.

Live search, `--replay` and `benchmarks/replay` ask and judge through the same object.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from optuna.trial import FrozenTrial, Trial

from drmn.search.config import PolicyConfig
from drmn.search.pruners.factory import make_pruner
from drmn.search.samplers.sampler_study import SamplerStudy
from drmn.search.trial_summary import bests

Run = TypeVar("Run")


@dataclass(frozen=True, slots=True)
class Suggestion(Generic[Run]):
    """Settings for the next trial."""

    trial: Trial
    """Optuna's trial, with its `params` and `distributions`."""
    run: Run
    """Result of `evaluate` for them."""
    repeats: int
    """How many trials before had the same parameters."""


class Searcher(Generic[Run]):
    """Sampler and pruner of a study, behind two methods: `ask` and `judge`.

    Both depend only on the trials that they are given, so a study that is resumed, or replayed
    from its record, makes the same choices.

    Args:
        policy: Sampler, pruner and window.
        seed: Seed of the study.
        evaluate: Asks a trial for the parameters of the space; returns the run of them.
        first: Points that are tried before the sampler chooses: the baseline, a warm start.
        inherited: Finished trials of a parent study, which the sampler learns from.
    """

    def __init__(
        self,
        policy: PolicyConfig,
        seed: int,
        evaluate: Callable[[Trial], Run],
        first: Sequence[Mapping[str, Any]] = (),
        inherited: Sequence[FrozenTrial] = (),
    ) -> None:
        self.policy, self.evaluate = policy, evaluate
        self.first, self.inherited = first, inherited
        self.sampler_study = SamplerStudy(policy, seed, inherited)
        self.pruner = make_pruner(policy)

    def sync(self, trials: Sequence[FrozenTrial]) -> None:
        """Learn the trials of a study that is opened, and rebuild the pruner's rungs."""
        self.sampler_study.sync(trials, self.policy.known(len(trials)))
        for trial in trials:
            for epoch, best in bests(trial.intermediate_values).items():
                self.pruner.note(trial.number, epoch, best)

    def ask(self, number: int, trials: Sequence[FrozenTrial]) -> Suggestion[Run] | None:
        """Return settings for trial `number`.

        Args:
            number: Number of the trial.
            trials: Those chosen before it, in the order of their numbers.

        Returns:
            None if the choice waits for results of running trials (`policy.window`).

        Raises:
            ConfigError: The space cannot be asked, or its point is no valid run.
        """
        known = self.policy.known(len(trials))
        if self.policy.window and not all(t.state.is_finished() for t in trials[:known]):
            return None
        first = self.first[len(trials)] if len(trials) < len(self.first) else None
        trial, run = self.sampler_study.ask_unseen(number, trials, known, first, self.evaluate)
        params = trial.params  # a copy each time
        return Suggestion(trial, run, sum(other.params == params for other in trials))

    def judge(self, number: int, epoch: int, best: float, epochs: int) -> str:
        """Return why trial `number` stops at `epoch`; empty if it continues.

        Args:
            number: Number of the trial.
            epoch: Epochs that it has trained.
            best: Its best value so far.
            epochs: Epochs that it trains if nothing stops it.
        """
        if epoch > self.policy.last_rung * epochs:
            self.pruner.note(number, epoch, best)
            return ""
        stops = self.pruner.should_prune(number, epoch, best)
        return self.pruner.reason(epoch) if stops else ""

    def is_rung(self, epoch: int) -> bool:
        """Return whether trials are compared after `epoch` epochs."""
        return self.pruner.is_rung(epoch)

"""DRMN's own policy: the objects that decide in a live search, on a record in memory."""

import optuna
from optuna.trial import Trial, TrialState, create_trial

from drmn.search.config import PolicyConfig
from drmn.search.pruners.factory import make_pruner
from drmn.search.samplers.sampler_study import SamplerStudy
from drmn.search.trial_summary import bests
from replay.space import Params
from replay.table import Table


class Ours:
    """The policy of a live search, and of its record what the policy looks at.

    Args:
        table: What to search.
        seed: Of the study.
        config: As a live search has it.
    """

    def __init__(self, table: Table, seed: int, config: PolicyConfig) -> None:
        self.space, self.config = table.grid.space, config
        self.last = int(table.curves(seed).epochs[-1])
        self.study = optuna.create_study(direction="maximize")
        self.sampler_study, self.pruner = SamplerStudy(config, seed), make_pruner(config)

    def ask(self) -> Params | None:
        """Choose as `drmn.search.study.record.StudyRecord.next` does."""
        trials = self.study.get_trials(deepcopy=False)
        known = self.config.known(len(trials))
        if self.config.window and not all(t.state.is_finished() for t in trials[:known]):
            return None
        trial, _ = self.sampler_study.ask_unseen(len(trials), trials, known, None, self.space)
        asked = create_trial(
            state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions
        )
        self.study.add_trial(asked)
        return trial.params

    def tell(self, number: int, epoch: int, value: float) -> bool:
        """Judge as `drmn.search.study.record.StudyRecord.report` does."""
        self._live(number).report(value, epoch)
        best = bests(self._trial(number).intermediate_values)[epoch]
        stops = self.config.pruner != "none" and self.pruner.should_prune(number, epoch, best)
        if epoch == self.last:
            self.study.tell(number, best)
        elif stops:
            self.study.tell(number, state=TrialState.PRUNED)
        return stops

    def done(self, number: int) -> None:
        """Do nothing: the record has it."""

    def _trial(self, number: int) -> optuna.trial.FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]

    def _live(self, number: int) -> Trial:
        return Trial(self.study, self._trial(number)._trial_id)  # noqa: SLF001 - no public way

"""DRMN's own policy: the searcher of a live search, on trials in memory."""

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from drmn.search.config import PolicyConfig
from drmn.search.study.searcher import Searcher
from drmn.search.trial_summary import bests
from replay.space import Params
from replay.table import Table


class Ours:
    """A live search's searcher, asked for the points of a table.

    Args:
        table: What to search.
        seed: Of the study.
        config: As a live search has it.
    """

    def __init__(self, table: Table, seed: int, config: PolicyConfig) -> None:
        self.last = int(table.curves(seed).epochs[-1])
        self.study = optuna.create_study(direction="maximize")
        self.searcher = Searcher(config, seed, table.grid.space)

    def ask(self) -> Params | None:
        """Return the next point; None if it waits for results."""
        trials = self.study.get_trials(deepcopy=False)
        found = self.searcher.ask(len(trials), trials)
        if found is None:
            return None
        params: Params = found.trial.params
        self.study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(params),
                distributions=found.trial.distributions,
            )
        )
        return params

    def tell(self, number: int, epoch: int, value: float) -> bool:
        """Record an epoch; return whether the trial is stopped."""
        self._live(number).report(value, epoch)
        best = bests(self._trial(number).intermediate_values)[epoch]
        stops = bool(self.searcher.judge(number, epoch, best, self.last))
        if epoch == self.last:
            self.study.tell(number, best)
        elif stops:
            self.study.tell(number, state=TrialState.PRUNED)
        return stops

    def done(self, number: int) -> None:
        """Ignore the end of a trial: the study has it."""

    def _trial(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]

    def _live(self, number: int) -> Trial:
        return Trial(self.study, self._trial(number)._trial_id)  # noqa: SLF001 - no public way

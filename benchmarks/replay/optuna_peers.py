"""Optuna's own search: TPE alone, and with its Hyperband pruner."""

import optuna

from replay.space import Params
from replay.table import Table


class Optuna:
    """Optuna's TPE for many workers, given each trial's best value.

    Args:
        table: What to search.
        seed: Of the sampler.
        hyperband: Whether Optuna's Hyperband pruner stops trials.
    """

    def __init__(self, table: Table, seed: int, *, hyperband: bool = False) -> None:
        self.space = table.grid.space
        last = int(table.curves(seed).epochs[-1])
        pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
        if hyperband:
            pruner = optuna.pruners.HyperbandPruner(1, last, 3)
        self.study = optuna.create_study(
            # The pruner draws each trial's bracket from the study's name.
            study_name=f"replay-{seed}",
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
            pruner=pruner,
        )
        self.live: dict[int, optuna.Trial] = {}
        self.bests: dict[int, float] = {}
        self.pruned: set[int] = set()

    def ask(self) -> Params | None:
        """Ask the study."""
        trial = self.study.ask()
        self.space(trial)
        self.live[trial.number] = trial
        return trial.params

    def tell(self, number: int, epoch: int, value: float) -> bool:
        """Report, and ask whether to prune."""
        self.bests[number] = max(value, self.bests.get(number, value))
        self.live[number].report(value, epoch)
        if self.live[number].should_prune():
            self.pruned.add(number)
        return number in self.pruned

    def done(self, number: int) -> None:
        """Tell the study."""
        trial = self.live.pop(number)
        if number in self.pruned:
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self.study.tell(trial, self.bests[number])

"""Hyperband: successive halving with the first rung in three places."""

from drmn.search.config import PolicyConfig
from drmn.search.pruners.successive_halving import SuccessiveHalving

BRACKETS = 3


GOLDEN = 0.6180339887498949
"""Its multiples, modulo 1, are spread evenly however many there are."""


class Hyperband:
    """Hyperband (Li et al., JMLR 18, 2018), asynchronous: successive halving with several starts.

    Trials of bracket b are compared with each other alone, for the first time after
    first * factor^b epochs: settings that improve late are not stopped early in all brackets. A
    bracket has the more trials the earlier it compares, in the proportions of the paper.
    """

    def __init__(self, config: PolicyConfig) -> None:
        firsts = [config.first_rung * config.factor**b for b in range(BRACKETS)]
        self.brackets = [SuccessiveHalving(first, config.factor, config.window) for first in firsts]
        rounds = range(BRACKETS - 1, -1, -1)  # rungs that a bracket has after its first
        self.shares = [config.factor**s / (s + 1) for s in rounds]

    def should_prune(self, trial: int, epoch: int, best: float) -> bool:
        """Note that `trial` has reached `epoch`; return whether it is to stop there."""
        return self.brackets[self.bracket(trial)].should_prune(trial, epoch, best)

    def note(self, trial: int, epoch: int, best: float) -> None:
        """Note that `trial` has reached `epoch`."""
        self.brackets[self.bracket(trial)].note(trial, epoch, best)

    def reason(self, epoch: int) -> str:
        """Return the cause of a trial that was stopped."""
        return self.brackets[0].reason(epoch)

    def is_rung(self, epoch: int) -> bool:
        """Return whether any trials are compared after `epoch` epochs."""
        return self.brackets[0].is_rung(epoch)

    def bracket(self, trial: int) -> int:
        """Return a trial's bracket; it depends on the number alone, and keeps to the shares."""
        place, total = (trial * GOLDEN) % 1.0 * sum(self.shares), 0.0
        for bracket, share in enumerate(self.shares):
            total += share
            if place < total:
                return bracket
        return len(self.shares) - 1

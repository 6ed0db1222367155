"""When to stop trying a setting."""

from collections import defaultdict
from dataclasses import dataclass, field

from drmn.search.settings import PolicyConfig

BRACKETS = 3
GOLDEN = 0.6180339887498949
"""Its multiples, modulo 1, are spread evenly however many there are."""


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
        self.note(trial, epoch, best)
        if not self.is_rung(epoch):
            return False
        rung = self.reached[epoch]
        others = [
            value
            for other, value in rung.items()
            if not self.window or other <= trial - self.window
        ]
        better = sum(value > best for value in others)
        count = len(others) + bool(self.window)  # with a window, the trial itself is not among them
        return better >= max(1, count // self.factor)

    def note(self, trial: int, epoch: int, best: float) -> None:
        """Note that `trial` has come to `epoch`."""
        if self.is_rung(epoch):
            self.reached[epoch][trial] = best

    def why(self, epoch: int) -> str:
        """Return the cause of a trial that was stopped."""
        return f"not in the top 1/{self.factor} at epoch {epoch}"

    def is_rung(self, epoch: int) -> bool:
        """Return whether trials are compared after `epoch` epochs."""
        rung = self.first
        while rung < epoch:
            rung *= self.factor
        return rung == epoch


class Hyperband:
    """Hyperband (Li et al., JMLR 18, 2018), asynchronous: successive halving with several starts.

    Trials of bracket b are compared with each other alone, for the first time after
    first * factor^b epochs: what shows its worth late is not stopped early everywhere. A bracket
    has the more trials the earlier it compares, in the proportions of the paper.
    """

    def __init__(self, config: PolicyConfig) -> None:
        firsts = [config.first_rung * config.factor**b for b in range(BRACKETS)]
        self.brackets = [Halving(first, config.factor, config.window) for first in firsts]
        rounds = range(BRACKETS - 1, -1, -1)  # rungs that a bracket has after its first
        self.shares = [config.factor**s / (s + 1) for s in rounds]

    def stops(self, trial: int, epoch: int, best: float) -> bool:
        """Note that `trial` has come to `epoch`; return whether it is to stop there."""
        return self.brackets[self.bracket(trial)].stops(trial, epoch, best)

    def note(self, trial: int, epoch: int, best: float) -> None:
        """Note that `trial` has come to `epoch`."""
        self.brackets[self.bracket(trial)].note(trial, epoch, best)

    def why(self, epoch: int) -> str:
        """Return the cause of a trial that was stopped."""
        return self.brackets[0].why(epoch)

    def is_rung(self, epoch: int) -> bool:
        """Return whether any trials are compared after `epoch` epochs."""
        return self.brackets[0].is_rung(epoch)

    def bracket(self, trial: int) -> int:
        """Return a trial's bracket: it depends on its number alone, and the shares come out."""
        place, total = (trial * GOLDEN) % 1.0 * sum(self.shares), 0.0
        for bracket, share in enumerate(self.shares):
            total += share
            if place < total:
                return bracket
        return len(self.shares) - 1


def stopper(config: PolicyConfig) -> Halving | Hyperband:
    """Return what decides which trials stop; it is not asked where nothing is pruned."""
    if config.pruner == "hyperband":
        return Hyperband(config)
    return Halving(config.first_rung, config.factor, config.window)

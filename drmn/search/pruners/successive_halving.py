"""Asynchronous successive halving."""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass
class SuccessiveHalving:
    """Asynchronous successive halving (Li et al., arXiv:1810.05934), the stopping variant.

    At each rung a trial continues if its best value so far is in the top 1/factor of all that have
    reached the rung, itself included. The decision depends on the recorded values alone, so a
    resumed study rebuilds its rungs from the record.
    """

    first: int
    factor: int
    window: int = 0
    """If not 0, a trial is compared only with those that are so many numbers before it, or more."""
    reached: dict[int, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    """Best value so far by rung and trial."""

    def should_prune(self, trial: int, epoch: int, best: float) -> bool:
        """Note that `trial` has reached `epoch`; return whether it is to stop there."""
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
        """Note that `trial` has reached `epoch`."""
        if self.is_rung(epoch):
            self.reached[epoch][trial] = best

    def reason(self, epoch: int) -> str:
        """Return the cause of a trial that was stopped."""
        return f"not in the top 1/{self.factor} at epoch {epoch}"

    def is_rung(self, epoch: int) -> bool:
        """Return whether trials are compared after `epoch` epochs."""
        rung = self.first
        while rung < epoch:
            rung *= self.factor
        return rung == epoch

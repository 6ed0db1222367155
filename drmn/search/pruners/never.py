"""No pruning: every trial trains all its epochs."""


class NeverPrune:
    """A pruner without rungs."""

    def should_prune(self, trial: int, epoch: int, best: float) -> bool:
        """Return that no trial stops."""
        del trial, epoch, best
        return False

    def note(self, trial: int, epoch: int, best: float) -> None:
        """Ignore a trial's value: there is none to compare it with."""

    def reason(self, epoch: int) -> str:
        """Return no cause: no trial is stopped."""
        del epoch
        return ""

    def is_rung(self, epoch: int) -> bool:
        """Return that trials are compared at no epoch."""
        del epoch
        return False

"""Preemption: training stops after a step, and its state is saved."""

from collections.abc import Callable

from drmn.training.checkpoint import State


class TrialPreemptedError(Exception):
    """A trial was preempted within an epoch, and saved, to resume elsewhere; not a failure."""


ShouldStop = Callable[[], bool]
"""Called after each step, equally often by every worker: whether to stop and resume elsewhere."""


class PreemptedError(Exception):
    """Training stopped within an epoch because its machine is being preempted."""

    def __init__(self, state: State) -> None:
        super().__init__("its machine is about to go")
        self.state = state
        """All that `fit` needs to resume with the next step, on as many workers."""


def never_stop() -> bool:
    """Return False: training never stops early."""
    return False

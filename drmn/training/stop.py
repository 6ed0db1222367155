"""Preemption: training stops after a step, and its state is saved."""

from collections.abc import Callable

from drmn.training.checkpoint import State


class TrialPreemptedError(Exception):
    """A trial was left within an epoch, saved, to go on elsewhere: no fault of its own."""


ShouldStop = Callable[[], bool]
"""Asked after each step, by every worker as often: is training to stop here, to go on elsewhere?"""


class PreemptedError(Exception):
    """Training stopped within an epoch because it was told to leave."""

    def __init__(self, state: State) -> None:
        super().__init__("its machine is about to go")
        self.state = state
        """All that `fit` needs to go on with the next step, on as many workers."""


def never_stop() -> bool:
    """Return that training goes on."""
    return False

"""Pruners by name."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from drmn.search.config import PolicyConfig, Pruner
from drmn.search.pruners.hyperband import Hyperband
from drmn.search.pruners.never import NeverPrune
from drmn.search.pruners.successive_halving import SuccessiveHalving


@runtime_checkable
class StudyPruner(Protocol):
    """Decides which trials stop, from nothing but the values that it is given."""

    def should_prune(self, trial: int, epoch: int, best: float) -> bool:
        """Note that `trial` has reached `epoch`; return whether it is to stop there."""

    def note(self, trial: int, epoch: int, best: float) -> None:
        """Note that `trial` has reached `epoch`."""

    def reason(self, epoch: int) -> str:
        """Return the cause of a trial that was stopped."""

    def is_rung(self, epoch: int) -> bool:
        """Return whether any trials are compared after `epoch` epochs."""


PRUNERS: Mapping[Pruner, Callable[[PolicyConfig], StudyPruner]] = {
    "halving": lambda config: SuccessiveHalving(config.first_rung, config.factor, config.window),
    "hyperband": Hyperband,
    "none": lambda _: NeverPrune(),
}
"""Constructors of the pruners of `--policy.pruner`."""


def make_pruner(config: PolicyConfig) -> StudyPruner:
    """Return the pruner of a policy."""
    return PRUNERS[config.pruner](config)

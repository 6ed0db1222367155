"""The pruner of a policy."""

from drmn.search.config import PolicyConfig
from drmn.search.pruners.hyperband import Hyperband
from drmn.search.pruners.successive_halving import SuccessiveHalving


def make_pruner(config: PolicyConfig) -> SuccessiveHalving | Hyperband:
    """Return what decides which trials stop; it is not asked where nothing is pruned."""
    if config.pruner == "hyperband":
        return Hyperband(config)
    return SuccessiveHalving(config.first_rung, config.factor, config.window)

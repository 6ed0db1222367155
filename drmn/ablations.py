"""The rows of the paper's ablation table, as settings (docs/paper.md)."""

from collections.abc import Mapping

from drmn.config import RunConfig, did_you_mean, strides, with_overrides
from drmn.errors import ConfigError
from drmn.space import Value

ABLATIONS: Mapping[str, Mapping[str, Value]] = {
    "full": {},
    "no-dab": {"model.dab": False},
    "no-fusion": {},
    "no-channel-attention": {"model.channel_attention": False},
    "no-sit": {"model.sit": "none"},
    "no-global-branch": {"model.global_branch": False},
}
"""What each row sets; `no-fusion` depends on the levels (`ablated`)."""


def ablated(config: RunConfig, name: str) -> RunConfig:
    """Return `config` with one part of the network removed.

    Raises:
        ConfigError: There is no such row.
    """
    if name not in ABLATIONS:
        near = did_you_mean(name, dict.fromkeys(ABLATIONS))
        raise ConfigError(f"--ablation {name}: no row of the ablation table.{near}")
    changes = dict(ABLATIONS[name])
    if name == "no-fusion":  # the last level alone, whichever it is
        changes["model.levels"] = str(strides(config.model.levels)[-1])
    return with_overrides(config, changes)

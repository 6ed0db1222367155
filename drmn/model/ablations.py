"""The rows of the paper's ablation: each is the network with one part removed (docs/paper.md)."""

from collections.abc import Mapping

from drmn.config import RunConfig
from drmn.errors import ConfigError
from drmn.fields import did_you_mean, with_overrides
from drmn.space import Value

FULL = "full"
ABLATIONS: Mapping[str, Mapping[str, Value]] = {
    FULL: {},
    "no-dab": {"model.dab": False},
    "no-fusion": {"model.fusion": "none"},
    "no-channel-attention": {"model.channel_attention": False},
    "no-sit": {"model.sit": "none"},
    "no-global-branch": {"model.global_branch": False},
}
"""Overrides of a run's settings, by name; "full" has none."""
LABELS: Mapping[str, str] = {
    "no-dab": "without dual attention",
    "no-fusion": "without fusion of levels",
    "no-channel-attention": "without channel attention",
    "no-sit": "without the semantic interaction transformer",
    "no-global-branch": "without the global branch",
}
"""What each row but the full network is, in words."""


def ablated(config: RunConfig, name: str) -> RunConfig:
    """Return `config` with one part of the network removed.

    Raises:
        ConfigError: There is no such row.
    """
    if name not in ABLATIONS:
        near = did_you_mean(name, dict.fromkeys(ABLATIONS))
        raise ConfigError(f"--ablation {name}: no row of the ablation table.{near}")
    return with_overrides(config, ABLATIONS[name])

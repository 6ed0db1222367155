"""The policies that are compared, by name."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import fields
from importlib.util import find_spec
from typing import Any, get_type_hints

import optuna

from drmn.search.config import PolicyConfig
from replay.chance import Chance, ChanceHalved, ChanceTop
from replay.clock import Policy
from replay.optuna_peers import Optuna
from replay.ours import Ours
from replay.table import Table

OURS = "drmn"
RANDOM = "random"
Maker = Callable[[Table, int], Policy]
PEERS: dict[str, str] = {
    RANDOM: "",
    "random + ASHA": "",
    "top 3 of epoch 1": "",
    "Optuna TPE": "",
    "Optuna TPE + Hyperband": "",
    "Ray OptunaSearch + ASHA": "ray",
    "Syne Tune ASHA": "syne_tune",
    "Syne Tune BOHB": "syne_tune",
}
"""Each with the package that it needs beyond DRMN's own."""


def missing(peer: str) -> str:
    """Return the package that a peer needs and that is not installed; empty if none."""
    package = PEERS[peer]
    return package if package and find_spec(package) is None else ""


def make(name: str, table: Table, seed: int) -> Policy:
    """Return a policy: a peer, or ours as `drmn` or `drmn:sampler=gp,factor=4`.

    Peers' libraries are imported here: not all need be there, and Ray takes seconds.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for library in ("syne_tune", "ray"):
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # each warns of itself, once a replay
    if name.partition(":")[0] == OURS:
        return Ours(table, seed, config(name))
    return _maker(name)(table, seed)


def config(name: str) -> PolicyConfig:
    """Return the settings that one of our policies has by its name."""
    kinds = get_type_hints(PolicyConfig)
    changed: dict[str, Any] = {}
    for pair in filter(None, name.partition(":")[2].split(",")):
        key, _, value = pair.partition("=")
        if key not in kinds:
            known = ", ".join(field.name for field in fields(PolicyConfig))
            raise SystemExit(f"{name}: no setting {key}; there are {known}.")
        changed[key] = kinds[key](value) if kinds[key] in (int, float) else value
    return PolicyConfig(**changed)


def _maker(name: str) -> Maker:
    if name.startswith("Ray"):
        from replay.ray_peers import Ray  # noqa: PLC0415

        return Ray
    if name.startswith("Syne"):
        from replay.syne_peers import Syne  # noqa: PLC0415

        return lambda table, seed: Syne(table, seed, model=name.endswith("BOHB"))
    makers: dict[str, Maker] = {
        RANDOM: Chance,
        "random + ASHA": ChanceHalved,
        "top 3 of epoch 1": ChanceTop,
        "Optuna TPE": Optuna,
        "Optuna TPE + Hyperband": lambda table, seed: Optuna(table, seed, hyperband=True),
    }
    return makers[name]

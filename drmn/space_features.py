"""Search spaces on the features that there are: what these lack is not asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drmn.config import ModelConfig, RunConfig
from drmn.errors import ConfigError
from drmn.fields import with_overrides
from drmn.level_names import (
    CLS,
    in_order,
    join,
    maps_of,
    parse_levels,
    require_class_token,
    resolve,
)
from drmn.space import Constants, Space, Trial, baseline_run

LEVELS, GLOBAL_INPUT, VIEWS = "model.levels", "model.global_input", "optim.views"


@dataclass(frozen=True, slots=True)
class HeldFeatures:
    """What features hold, of that which a space may choose from."""

    levels: str
    """Their levels, such as "8+16+32" or "b4+b8+b12"."""
    views: int = 0
    """Augmented views of each image."""


def on_held_features(space: Space, held: HeldFeatures) -> Space:
    """Return `space` with the choices of model.levels that the features `held` have.

    Where they have none of them, the last two levels, the last one, or all are chosen from. So a
    space that was written for the strides of a CNN searches the blocks of a transformer too. A
    trial's parameters and constants hold b-1 by its name in `held`; the space is answered with its
    own word for it. optim.views is asked for where they hold augmented views; elsewhere a trial is
    without it, and the space is answered with its first choice.
    """

    def restricted(trial: Trial) -> Constants:
        constants = space(_OnHeldFeatures(trial, held))
        if not isinstance(constants, Mapping) or LEVELS not in constants:
            return constants
        return {**constants, LEVELS: resolve(str(constants[LEVELS]), held.levels)}

    return restricted


def held_choices(choices: Sequence[Any], held: str) -> list[Any]:
    """Return those of the choices of model.levels that `held` has, or other ones if it has none."""
    there = parse_levels(held)
    named = dict.fromkeys(resolve(str(each), held) for each in choices)
    found = [each for each in named if set(parse_levels(each, LEVELS)) <= set(there)]
    if found:
        return found
    every = in_order(maps_of(there))
    return list(dict.fromkeys(join(levels) for levels in (every[-2:], every[-1:], every)))


def with_held_levels(base: RunConfig, held: str) -> RunConfig:
    """Return `base` with the levels that it counts from the last block by their names in `held`."""
    return with_overrides(base, {LEVELS: resolve(base.model.levels, held)})


def require_held_levels(space: Space, base: RunConfig, held: str) -> None:
    """Raise `ConfigError` if a search asks for levels that the features lack, at its baseline.

    Such a space leaves model.levels alone, or fixes it.
    """
    model = baseline_run(on_held_features(space, HeldFeatures(held)), base).model
    if takes_class_token(model):
        require_class_token(parse_levels(held))
    wanted = parse_levels(model.levels)[-1 if model.fusion == "none" else 0 :]
    if not set(wanted) <= set(parse_levels(held)):
        raise ConfigError(
            f"model.levels {model.levels}: the features hold {held}; name some of them with "
            "--model.levels, or in the space."
        )


def takes_class_token(model: ModelConfig) -> bool:
    """Return whether a network reads the class token."""
    return model.global_branch and model.global_input == CLS


def needed_levels(model: ModelConfig) -> str:
    """Return the levels of the features that a network reads."""
    return f"{CLS}+{model.levels}" if takes_class_token(model) else model.levels


class _OnHeldFeatures:
    """A trial that is asked for no level that features lack, and for no views that they lack."""

    def __init__(self, trial: Trial, held: HeldFeatures) -> None:
        self._trial, self._held, self._views = trial, held.levels, held.views

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return self._trial.suggest_float(name, low, high, step=step, log=log)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        return self._trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if name == GLOBAL_INPUT and CLS not in parse_levels(self._held):
            choices = [each for each in choices if each != CLS] or choices
        if name == VIEWS and not self._views:
            return choices[0]
        if name != LEVELS:
            return self._trial.suggest_categorical(name, choices)
        chosen = self._trial.suggest_categorical(name, held_choices(choices, self._held))
        same = (each for each in choices if resolve(str(each), self._held) == chosen)
        return next(same, chosen)

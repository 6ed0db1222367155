"""Search spaces on the levels that features hold: others are not asked for."""

from collections.abc import Sequence
from typing import Any

from drmn.config import RunConfig
from drmn.errors import ConfigError
from drmn.level_names import in_order, join, parse_levels
from drmn.space import Constants, Space, Trial, baseline_run

LEVELS = "model.levels"


def on_held_levels(space: Space, held: str) -> Space:
    """Return `space` with the choices of model.levels that features of the levels `held` have.

    Where they have none of them, the last two levels, the last one, or all are chosen from. So a
    space that was written for the strides of a CNN searches the blocks of a transformer too.

    Args:
        space: A search space.
        held: Levels of the features, such as "8+16+32" or "b4+b8+b12".
    """

    def restricted(trial: Trial) -> Constants:
        return space(_OnHeldLevels(trial, held))

    return restricted


def held_choices(choices: Sequence[Any], held: str) -> list[Any]:
    """Return those of the choices of model.levels that `held` has, or other ones if it has none."""
    there = parse_levels(held)
    found = [each for each in choices if set(parse_levels(str(each), LEVELS)) <= set(there)]
    if found:
        return found
    every = in_order(there)
    return list(dict.fromkeys(join(levels) for levels in (every[-2:], every[-1:], every)))


def require_held_levels(space: Space, base: RunConfig, held: str) -> None:
    """Raise `ConfigError` if a search asks for levels that the features lack, at its baseline.

    Such a space leaves model.levels alone, or fixes it.
    """
    model = baseline_run(on_held_levels(space, held), base).model
    wanted = parse_levels(model.levels)[-1 if model.fusion == "none" else 0 :]
    if not set(wanted) <= set(parse_levels(held)):
        raise ConfigError(
            f"model.levels {model.levels}: the features hold {held}; name some of them with "
            "--model.levels, or in the space."
        )


class _OnHeldLevels:
    """A trial that is asked for no level that features lack."""

    def __init__(self, trial: Trial, held: str) -> None:
        self._trial, self._held = trial, held

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return self._trial.suggest_float(name, low, high, step=step, log=log)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        return self._trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        held = held_choices(choices, self._held) if name == LEVELS else choices
        return self._trial.suggest_categorical(name, held)

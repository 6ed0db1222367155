"""Search spaces: Python functions that ask a trial for values and return constants.

A space is a file with a function `space(trial) -> constants` in Optuna's define-by-run style that
imports neither Optuna nor Ray. A condition is an `if`.
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from drmn.config import RunConfig
from drmn.errors import ConfigError, UserError
from drmn.fields import did_you_mean, flatten, with_overrides

Value = bool | int | float | str
Constants = Mapping[str, Value]
SPACES = Path(__file__).parents[1] / "search_spaces"


@runtime_checkable
class Trial(Protocol):
    """The methods that a space may call; an Optuna trial has them."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return a number in [low, high]."""

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Return a whole number in low..high."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of `choices`."""


Space = Callable[[Trial], Constants]


def load(name: str) -> Space:
    """Return the space called `name` in search_spaces/, or the one in the file `name`.

    Raises:
        ConfigError: There is no such space, or its file defines none.
    """
    path = source(name)
    module_spec = importlib.util.spec_from_file_location(f"space_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise ConfigError(f"--space {name}: {path} is not a Python file.")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as problem:  # noqa: BLE001 - a space is the user's code
        raise ConfigError(f"--space {name}: {path}: {type(problem).__name__}: {problem}.") from None
    if not hasattr(module, "space"):
        raise ConfigError(f"--space {name}: {path} defines no function space(trial).")
    space: Space = module.space
    return space


def fixed_settings(trial: Trial) -> Constants:
    """Return no constants and ask for nothing: the search space of a run at fixed settings."""
    del trial
    return {}


def source(name: str) -> Path:
    """Return the file of the space called `name`."""
    path = Path(name) if name.endswith(".py") else SPACES / f"{name}.py"
    if not path.is_file():
        have = ", ".join(sorted(file.stem for file in SPACES.glob("*.py")))
        raise ConfigError(f"--space {name}: no file {path}. Spaces: {have}; or give a .py file.")
    return path


def settings(base: RunConfig, constants: Constants, params: Mapping[str, Value]) -> RunConfig:
    """Return the run's settings at a point of a space."""
    return with_overrides(base, {**constants, **params})


@dataclass
class _Nearest:
    """A trial that answers with the values of a run, moved into the space where they are not."""

    known: dict[str, Any]
    params: dict[str, Value] = field(default_factory=dict)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        del log
        self._check(name, low, high)
        return self._note(name, _nearest(self._number(name), low, high, step))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        del log
        self._check(name, low, high)
        return self._note(name, int(_nearest(self._number(name), low, high, step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        value = self._setting(name)
        return self._note(name, value if value in choices else choices[0])

    def _check(self, name: str, low: float, high: float) -> None:
        if low > high:
            raise ConfigError(f"The space asks for {name} from {low} to {high}: nothing is there.")

    def _setting(self, name: str) -> Any:
        if name not in self.known:
            near = did_you_mean(name, self.known)
            raise ConfigError(f"The space asks for {name!r}, which is no setting of a run.{near}")
        return self.known[name]

    def _number(self, name: str) -> float:
        value = self._setting(name)
        if type(value) not in (int, float):
            kind = type(value).__name__
            raise ConfigError(f"The space asks for {name} as a number; it is {kind}: {value!r}.")
        return float(value)

    def _note(self, name: str, value: Any) -> Any:
        self.params[name] = value
        return value


def _nearest(value: float, low: float, high: float, step: float | None) -> float:
    inside = min(max(value, low), high)
    if step is None:
        return inside
    last = floor((high - low) / step + 1e-9)  # the grid may end before `high`
    return min(low + min(round((inside - low) / step), last) * step, high)


def ask(space: Space, trial: Trial) -> Constants:
    """Return the constants of `space` after it has asked `trial` for its values.

    Raises:
        ConfigError: The space raised an error, or returned no constants.
    """
    try:
        constants = space(trial)
    except UserError:
        raise
    except Exception as problem:  # noqa: BLE001 - a space is the user's code
        kind = type(problem).__name__
        raise ConfigError(f"The space raised {kind}: {problem}.") from None
    if not isinstance(constants, Mapping):
        raise ConfigError(f"space(trial) must return constants ({{}} for none); got {constants!r}.")
    return constants


def baseline(space: Space, base: RunConfig) -> dict[str, Value]:
    """Return the point of `space` nearest to `base`: a choice it lacks becomes the first listed.

    Raises:
        ConfigError: The space asks for an unknown setting, for a number where a word belongs, or
            this point is no valid run.
    """
    return _nearest_point(space, base)[0]


def baseline_run(space: Space, base: RunConfig) -> RunConfig:
    """Return the settings at the point of `space` nearest to `base`, see `baseline`."""
    return _nearest_point(space, base)[1]


def _nearest_point(space: Space, base: RunConfig) -> tuple[dict[str, Value], RunConfig]:
    trial = _Nearest(flatten(base))
    return trial.params, settings(base, ask(space, trial), trial.params)

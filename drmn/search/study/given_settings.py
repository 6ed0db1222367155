"""Settings given on the command line of a search: they win over its space, in every trial."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drmn.errors import UserError
from drmn.experiment.identity import GIVEN
from drmn.flags import flag
from drmn.space import Constants, Space, Trial, Value, ask

POINTS = 200
"""Random points of a space at which it is asked what it decides: rare branches are reached."""


def with_given(space: Space, given: Constants) -> Space:
    """Return a space in which the `given` settings are neither searched nor fixed otherwise."""
    if not given:
        return space
    return lambda trial: {**ask(space, _Given(trial, given)), **given}


def decided(space: Space) -> dict[str, str]:
    """Return the settings that a space decides, each with how, in words.

    Points at which it raises say nothing: they are reported where they are asked for.
    """
    found: dict[str, str] = {}
    for seed in range(POINTS):
        trial = _Random(random.Random(seed))  # noqa: S311 - no secret
        try:
            constants = ask(space, trial)
        except UserError:
            constants = {}
        found |= dict.fromkeys(trial.asked, "searches it")
        found |= {n: f"fixes {v}" for n, v in constants.items() if n not in found}
    return found


def overruled(space: Space, given: Constants) -> dict[str, str]:
    """Return a line on each given setting that the space decides too, by the setting's name."""
    by_space = decided(space) if given else {}
    return {
        name: f"{flag(name)} {value} holds in every trial: the space {by_space[name]}, the command "
        "line wins"
        for name, value in given.items()
        if name in by_space
    }


@dataclass(frozen=True, slots=True)
class _Given:
    """A trial that answers with given values, and asks another trial for all others."""

    trial: Trial
    given: Constants

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> Any:
        if name in self.given:
            return self.given[name]
        return self.trial.suggest_float(name, low, high, step=step, log=log)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> Any:
        if name in self.given:
            return self.given[name]
        return self.trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if name in self.given:
            return self.given[name]
        return self.trial.suggest_categorical(name, choices)


@dataclass(frozen=True, slots=True)
class _Random:
    """A trial that answers at random and notes what it was asked for."""

    chance: random.Random
    asked: dict[str, Value] = field(default_factory=dict)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        del step, log
        return self._note(name, self.chance.uniform(low, high))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        del log
        return self._note(name, low + step * self.chance.randint(0, max(0, high - low) // step))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._note(name, self.chance.choice(choices))

    def _note(self, name: str, value: Any) -> Any:
        self.asked[name] = value
        return value


def given_of(identity: Mapping[str, Any]) -> dict[str, Value]:
    """Return the given settings that a study's identity holds."""
    return {name.removeprefix(GIVEN): v for name, v in identity.items() if name.startswith(GIVEN)}

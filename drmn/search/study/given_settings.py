"""Settings given on the command line of a search: they win over its space, in every trial."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drmn.config import RunConfig
from drmn.errors import UserError
from drmn.experiment.identity import GIVEN
from drmn.fields import flatten
from drmn.flags import Given, flag
from drmn.space import Constants, Space, Trial, Value, ask
from drmn.space_check import POINTS, Point, RandomPoint, check_space
from drmn.space_features import VIEWS
from drmn.unused import Values, notes, unused


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
    rng, counts = random.Random(0), Counter[tuple[str, int]]()  # noqa: S311 - no secret
    for _ in range(POINTS):
        point = RandomPoint(rng, {}, counts)
        try:
            constants = ask(space, point)
        except UserError:
            constants = {}
        found |= dict.fromkeys(point.params, "searches it")
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


def checked(
    space: Space, base: RunConfig, given: Constants, options: Given, job: Values
) -> list[str]:
    """Return notes on settings that the space decides too, and on those that have no effect.

    Args:
        space: The space, without the given settings.
        base: Settings that it leaves alone.
        given: Settings of a run that the command line gives.
        options: All options of the command line.
        job: All settings of the job.

    Raises:
        ConfigError: Some point of the space, with these settings, is no valid run.
    """
    points = check_space(with_given(space, given), base)
    asked_too = {n: line for n, line in overruled(space, given).items() if n not in _absent(job)}
    lines = [*asked_too.values(), *without_effect(points, given, job)]
    others = {name: text for name, text in options.items() if name not in given}
    return [*(f"note: {line}" for line in lines), *notes(others, job)]


def without_effect(points: Sequence[Point], given: Constants, job: Values) -> list[str]:
    """Return a line on each setting that is given, fixed or searched and has no effect anywhere.

    Args:
        points: Points of the space, the given settings in them.
        given: Settings of the command line.
        job: Settings that no space decides.
    """
    reasons: dict[str, str] = {}
    used: set[str] = set()
    plain = flatten(RunConfig())
    for point in points:
        run = flatten(point.run)
        fixed = {name for name, value in point.constants.items() if value != plain[name]}
        asked = fixed | (point.params.keys() - _absent(job))
        found = unused(asked, {**job, **run})
        reasons |= found
        used |= asked - found.keys()
    by_space = {n: "fixes" for point in points for n in point.constants}
    by_space |= {n: "searches" for point in points for n in point.params}
    return [
        f"{flag(name)} {given[name]} has no effect: {reason}"
        if name in given
        else f"the space {by_space[name]} {name}, which has no effect: {reason}"
        for name, reason in sorted(reasons.items())
        if name not in used
    ]


def _absent(job: Values) -> set[str]:
    """Return the settings that a space asks for in vain: no trial of the job is asked for them."""
    return set() if job.get("views", 0) else {VIEWS}


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


def given_of(identity: Mapping[str, Any]) -> dict[str, Value]:
    """Return the given settings that a study's identity holds."""
    return {name.removeprefix(GIVEN): v for name, v in identity.items() if name.startswith(GIVEN)}

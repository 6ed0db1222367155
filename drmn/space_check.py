"""Check of a search space before anything runs: at many of its points, every branch reached."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from drmn.config import RunConfig
from drmn.errors import ConfigError
from drmn.space import Constants, Space, Value, ask, baseline, settings

POINTS = 200
"""Points that a space is asked at."""

Range = tuple[str, tuple[Any, ...]]
"""Kind of a setting in a space, in words, and what must be the same wherever it is asked for."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a space."""

    run: RunConfig
    constants: Constants
    params: dict[str, Value]


def check_space(space: Space, base: RunConfig) -> list[Point]:
    """Return many points of a space; each is a valid run.

    A sampler learns from earlier trials only if a setting has the same choices, or the same kind of
    number, in every branch. Seeded: the same space is judged alike everywhere.

    Args:
        space: A search space.
        base: Settings that it leaves alone.

    Raises:
        ConfigError: Some point of the space is no valid run, or the space is no fixed one.
    """
    baseline(space, base)
    known: dict[str, Range] = {}
    counts: Counter[tuple[str, int]] = Counter()
    rng = random.Random(0)  # noqa: S311 - points, not secrets
    points = []
    for _ in range(POINTS):
        point = RandomPoint(rng, known, counts)
        constants = ask(space, point)
        try:
            run = settings(base, constants, point.params)
        except ConfigError as mistake:
            params = ", ".join(f"{name}={value!r}" for name, value in point.params.items())
            raise ConfigError(
                f"The space has a point that is no valid run: {mistake} The point: {params}."
            ) from None
        points.append(Point(run, constants, point.params))
    return points


@dataclass
class RandomPoint:
    """A trial that answers by chance: ends of ranges too, and the choices drawn least so far.

    It raises `ConfigError` if it is asked otherwise than `known`, or for a setting twice.
    """

    rng: random.Random
    known: dict[str, Range]
    """How each setting was asked for at earlier points."""
    counts: Counter[tuple[str, int]]
    """How often each choice was drawn at earlier points."""
    params: dict[str, Value] = field(default_factory=dict)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return a number in [low, high]."""
        self._note(name, "float", (log, step))
        return self._answer(name, self._number(low, high, step))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Return a whole number in low..high."""
        self._note(name, "int", (log, step))
        return self._answer(name, int(self._number(low, high, step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of `choices`."""
        odd = [each for each in choices if type(each) not in get_args(Value)]
        if odd or not choices:
            raise ConfigError(
                f"The space asks for {name} among {list(choices)!r}: choices are words, numbers, "
                "True or False; leave the setting out of the branch instead of choosing None."
            )
        self._note(name, "choices", tuple(choices))
        fewest = min(self.counts[name, place] for place in range(len(choices)))
        least = [p for p in range(len(choices)) if self.counts[name, p] == fewest]
        # By chance alone now and then: else choices that are drawn in turn would always meet.
        place = self.rng.choice(least if self.rng.random() < 0.5 else range(len(choices)))
        self.counts[name, place] += 1
        return self._answer(name, choices[place])

    def _number(self, low: float, high: float, step: float | None) -> float:
        if self.rng.random() < 0.25:
            return self.rng.choice((low, high if step is None else _last(low, high, step)))
        if step is None:
            return self.rng.uniform(low, high)
        return low + step * self.rng.randint(0, round((_last(low, high, step) - low) / step))

    def _note(self, name: str, kind: str, rule: tuple[Any, ...]) -> None:
        if name in self.params:
            raise ConfigError(
                f"The space asks for {name} twice in one trial; ask once and keep the answer."
            )
        before = self.known.setdefault(name, (kind, rule))
        # 1 equals True, and 1.0 equals 1: these are other choices.
        if repr(before) != repr((kind, rule)):
            raise ConfigError(
                f"The space asks for {name} as {_words(*before)} in one branch and as "
                f"{_words(kind, rule)} in another; ask for the same in each, or search one of them "
                "and fix the other."
            )

    def _answer(self, name: str, value: Any) -> Any:
        self.params[name] = value
        return value


def _last(low: float, high: float, step: float) -> float:
    """Return the last point of a grid, which may end before `high`."""
    return low + step * int((high - low) / step + 1e-9)


def _words(kind: str, rule: tuple[Any, ...]) -> str:
    if kind == "choices":
        return f"choices {list(rule)!r}"
    log, step = rule
    return f"{kind}{' on a log scale' if log else ''}{f' in steps of {step}' if step else ''}"

"""Fields of frozen dataclasses: checks of values, names with dots, overrides."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, TypeVar, get_args
from urllib.parse import parse_qs, urlsplit

from drmn.errors import ConfigError

C = TypeVar("C")


def refuse_password(flag: str, url: str, place: str) -> None:
    """Raise `ConfigError` if a URL holds a password; `place` says where to put it instead."""
    parts = urlsplit(url)
    if parts.password or any("password" in key for key in parse_qs(parts.query)):
        raise ConfigError(
            f"{flag} holds a password, which others can read on a command line: put it into "
            f"{place}."
        )


def require(name: str, value: object, ok: bool, rule: str) -> None:  # noqa: FBT001
    """Raise `ConfigError` unless `ok`."""
    if not ok:
        raise ConfigError(f"{name} must be {rule}; got {value!r}.")


def require_one_of(name: str, value: object, choices: Any) -> None:
    """Raise `ConfigError` unless `value` is one of the values of the Literal `choices`."""
    have = get_args(choices)
    require(name, value, value in have, f"one of {', '.join(have)}")


def require_choices(config: Any, prefix: str) -> None:
    """Raise `ConfigError` unless each field of `config` that is a Literal has one of its values."""
    for item in fields(config):
        if get_args(item.type):
            require_one_of(prefix + item.name, getattr(config, item.name), item.type)


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return the fields of `config` by dotted name."""
    flat: dict[str, Any] = {}
    for item in fields(config):
        value, name = getattr(config, item.name), sys.intern(prefix + item.name)
        flat |= flatten(value, f"{name}.") if is_dataclass(value) else {name: value}
    return flat


def with_overrides(config: C, changes: Mapping[str, object]) -> C:
    """Return `config` with the dotted fields in `changes` replaced.

    Raises:
        ConfigError: A name is not a field, a value has another type, or the result is invalid.
    """
    known = flatten(config)
    return _replace(config, {name: _checked(name, changes[name], known) for name in changes})


def _checked(name: str, value: object, known: Mapping[str, object]) -> object:
    if name not in known:
        raise ConfigError(f"Unknown setting {name!r}.{did_you_mean(name, known)}")
    kind = type(known[name])
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ConfigError(
            f"{name} must be {kind.__name__}; got {value!r} ({type(value).__name__})."
        )
    return value


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the nearest of the `known` names, or all of them."""
    close = get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(known)}."


def _replace(config: C, changes: Mapping[str, object]) -> C:
    own: dict[str, Any] = {}
    for item in fields(config):  # type: ignore[arg-type]
        value, dot = getattr(config, item.name), f"{item.name}."
        inner = {k.removeprefix(dot): v for k, v in changes.items() if k.startswith(dot)}
        if inner:
            own[item.name] = _replace(value, inner)
        elif item.name in changes:
            own[item.name] = changes[item.name]
    return replace(config, **own)  # type: ignore[type-var]

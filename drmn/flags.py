"""Flags of a job's command line: their names, and which of them were given."""

import os
from collections.abc import Collection, Mapping, Sequence

from drmn.errors import ConfigError

Given = Mapping[str, str]
"""The options of a command line by the names of their settings, with their values as typed."""
HOME = ("~", "sqlite:///~")
"""Beginnings of values that stand for a place in the user's home folder."""


def flag(name: str) -> str:
    """Return the flag of a setting, such as `--optim.batch-size` of `optim.batch_size`."""
    return f"--{name.replace('_', '-')}"


def given(arguments: Sequence[str]) -> Given:
    """Return the options that a command line names."""
    found: dict[str, str] = {}
    name = ""
    for each in arguments:
        if each.startswith("--"):
            text, _, value = each[2:].partition("=")
            name = text.replace("-", "_")
            found[name] = value
        elif name:
            found[name] = f"{found[name]} {each}".strip()
    return found


def refuse_unused(options: Given, used: Collection[str], mode: str) -> None:
    """Raise `ConfigError` if an option was given that `mode` does not use.

    Args:
        options: The options that were given.
        used: Names of the settings that the mode uses.
        mode: The mode in a sentence, such as "--status".
    """
    for name, value in options.items():
        if name not in used:
            shown = f"{flag(name)} {value}".strip()
            raise ConfigError(f"{shown}: {mode} does not use it; leave it out.")


def expand_home(value: str) -> str:
    """Return an argument, or the value of an option, with a leading `~` as the home folder.

    A shell expands neither `--results=~/x`, nor `'~/x'`, nor `sqlite:///~/x`.
    """
    option, equals, text = value.partition("=")
    if value.startswith("--") and equals:
        return f"{option}={expand_home(text)}"
    for start in HOME:
        rest = value.removeprefix(start)
        if value.startswith(start) and (not rest or rest[0] == "/"):
            return start.removesuffix("~") + os.path.expanduser("~") + rest  # noqa: PTH111
    return value

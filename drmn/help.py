"""The short `--help` of a job: the settings that most people need, on one screen."""

import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten

import tyro

EVERYTHING = "--help-all"
"""The option that shows every setting."""
WIDTH, COLUMN = 100, 34
Common = Mapping[str, Sequence[str]]
"""The options that the short help shows, by the title of their group."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a job, as tyro knows it."""

    flags: str
    text: str


def asked(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for the short help."""
    return "--help" in arguments or "-h" in arguments


def full(arguments: Sequence[str]) -> list[str]:
    """Return a command line in which the option for every setting is tyro's own `--help`."""
    return ["--help" if each == EVERYTHING else each for each in arguments]


def short(job: type, common: Common, usage: str) -> str:
    """Return the help of `job`.

    Args:
        job: The dataclass of its settings.
        common: The options to show, by the title of their group; each must be one of the job's.
        usage: The module's docstring: a sentence, then examples.
    """
    options = _options(job)
    parts = [usage.strip()]
    for title, names in common.items():
        lines = [_line(options[name]) for name in names]
        parts.append("\n".join([f"{title}:", *lines]))
    parts.append(f"{len(options)} options in all: {EVERYTHING} shows them.")
    return "\n\n".join(parts)


def _options(job: type) -> dict[str, Option]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        parser = tyro.extras.get_parser(job, prog=sys.argv[0])
    return {
        action.option_strings[0]: Option(
            _flags(action.option_strings[0], action.metavar or ""), action.help or ""
        )
        for action in parser._actions  # noqa: SLF001 - argparse has no public list
        if action.option_strings
    }


def _flags(name: str, metavar: object) -> str:
    """Return an option and its kind; choices are listed by the full help."""
    kind = str(metavar).removeprefix("{None}|")
    return f"{name} {'NAME' if kind.startswith('{') else kind}".rstrip()


def _line(option: Option) -> str:
    """Return an option with the first sentence of its text, and its default."""
    text = " ".join(option.text.split())
    words, _, default = text.partition(" (default: ")
    sentence = re.split(r"(?<=\w\w)[.;] ", words, maxsplit=1)[0].rstrip(".")
    known = "" if default.rstrip(")") in {"", "''", "False", "None"} else f" [{default[:-1]}]"
    room = WIDTH - COLUMN - len(known)
    return f"  {option.flags:<{COLUMN - 3}} {shorten(sentence, room, placeholder=' …')}{known}"

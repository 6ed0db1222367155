"""Checks of a file that describes a cluster, for `ray up` or for Kubernetes."""

import re
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import yaml

from drmn.errors import ConfigError

BLANK = re.compile(r"<YOUR-[A-Z-]+>")
"""Placeholder that a user has to fill in."""


def read(file: Path) -> Mapping[str, Any]:
    """Return the content of a cluster's file.

    Raises:
        ConfigError: There is none, or it is no such file.
    """
    if not file.is_file():
        raise ConfigError(f"--cluster {file}: no such file; cluster.yaml is one.")
    try:
        found = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        where = getattr(problem, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise ConfigError(f"--cluster {file}{line}: not YAML; mend it.") from None
    if not isinstance(found, dict) or not ({"provider", "kind"} & found.keys()):
        raise ConfigError(
            f"--cluster {file}: neither a cluster of `ray up` (it has no provider) nor one of "
            "Kubernetes (it has no kind)."
        )
    return found


def blanks(content: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each field that is not filled in, by its dotted name, with its placeholder."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from blanks(value, f"{name}.{key}" if name else str(key))
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from blanks(value, f"{name}[{number}]")
    elif isinstance(content, str):
        for blank in BLANK.findall(content):
            yield name, blank


def against_schema(content: Mapping[str, Any]) -> str:
    """Return Ray's error for a file of `ray up`; empty if it is valid."""
    from ray.autoscaler._private import util  # noqa: PLC0415 - Ray takes seconds to import

    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # Ray warns of what is fine
            util.validate_config(util.prepare_config(dict(content)))
    except Exception as problem:  # noqa: BLE001 - it raises what its parts raise
        place = ".".join(map(str, getattr(problem, "absolute_path", ())))
        said = getattr(problem, "message", "") or f"{type(problem).__name__}: {problem}"
        return f"{place}: {said}" if place else said
    return ""

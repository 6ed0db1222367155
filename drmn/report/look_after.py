"""The modes of a job that look after its studies or runs: list, status, verify, replay, stop."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from drmn.cli import write_json
from drmn.errors import ConfigError, DataError
from drmn.flags import Given, flag, refuse_unused
from drmn.report import studies

PLACE = ("results", "storage")
"""Options that say where studies are, of every mode."""


@dataclass(frozen=True, slots=True)
class Look:
    """The studies, or runs, that are looked after."""

    folder: Path
    """results/studies or results/runs."""
    name: str
    """Name of the study; empty where none is meant."""
    storage: str = ""
    """PostgreSQL that holds the records; empty if the folder does."""
    space: str = ""
    """The space that a replay asks."""
    only: str = ""
    """The only study of the list; empty for all."""


def require_used(modes: Sequence[str], options: Given, uses: Mapping[str, Collection[str]]) -> None:
    """Raise `ConfigError` if an option is given that none of the modes uses.

    Args:
        modes: The modes that are asked for.
        options: The options that were given.
        uses: Options of each mode, beside itself, those of `PLACE` and `--json`.
    """
    results = [mode for mode in modes if mode != "stop"]
    used = {*PLACE, *modes, *(name for mode in modes for name in uses[mode])}
    refuse_unused(options, used | ({"json"} if results else set()), " ".join(map(flag, modes)))
    if "json" in options and len(results) > 1:
        raise ConfigError(
            f"--json {options['json']}: one file for {' and '.join(map(flag, results))}; ask for "
            "one at a time."
        )


def look_after(modes: Sequence[str], look: Look, json: Path | None) -> None:
    """Run the modes one after the other; `json` is the file for what the last one shows."""
    console, (folder, name, url) = Console(), (look.folder, look.name, look.storage)
    does: Mapping[str, Callable[[], Any]] = {
        "stop": lambda: studies.stop(console, folder, name, url),
        "list": lambda: studies.show(console, folder, url, look.only),
        "status": lambda: studies.status(console, folder, name, url),
        "verify": lambda: studies.verify(console, folder, name, url),
        "replay": lambda: studies.replay(console, folder, name, look.space, url),
    }
    shown = {mode: does[mode]() for mode in modes}
    write_json(json, shown[modes[-1]])
    if (verified := shown.get("verify")) and (bad := verified["bad"]):
        few = f"{len(bad)} of {verified['files']} files"
        raise DataError(f"{folder / name}: damaged or gone: {few}; the lines above say which.")

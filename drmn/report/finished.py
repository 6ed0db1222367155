"""A finished study shown again by its receipt; nothing heavy is imported for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drmn.cli import write_json
from drmn.experiment import receipt

if TYPE_CHECKING:
    from drmn.prepare.job import FeatureRequest


def keep(
    folder: Path,
    asked: Mapping[str, Any],
    features: tuple["FeatureRequest", Path],
    said: str,
    outcome: Mapping[str, Any],
) -> None:
    """Write the receipt of a finished study.

    Args:
        folder: Folder of the study.
        asked: All settings of the job that decide its result and text.
        features: The request for features, and the store that was made for it.
        said: The text that was printed.
        outcome: The content of `--json`.
    """
    from drmn.prepare.job import data_places, made_places  # noqa: PLC0415 - it imports torch

    basis = receipt.Basis(
        asked=asked,
        data=[str(place) for place in data_places(features[0])],
        made=[str(place) for place in made_places(*features)],
        tracking_uri=asked["tracking_uri"],
    )
    receipt.write(folder, basis, said, outcome)


def show_again(folder: Path, asked: Mapping[str, Any], json: Path | None) -> bool:
    """Print the receipt of a finished study if nothing has changed; return whether there is one."""
    found = receipt.read(folder, asked)
    if found is None:
        return False

    from rich.console import Console  # noqa: PLC0415 - not for a job that goes on
    from rich.text import Text  # noqa: PLC0415

    Console().print(Text.from_ansi(found.said), soft_wrap=True, end="")
    write_json(json, found.outcome)
    return True

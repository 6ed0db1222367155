"""Predictions for photos on the terminal, and as tables."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from rich.console import Console

from drmn.errors import ConfigError, DataError
from drmn.final.prediction import Prediction
from drmn.report.say import say

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".jfif")
SHOWN = 3
"""Attributes that are shown of each list."""


def photos_of(places: Sequence[Path]) -> list[Path]:
    """Return the photos among files and folders, those of a folder by name.

    Raises:
        ConfigError: A place does not exist.
        DataError: There is no photo.
    """
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            inside = sorted(file for file in place.rglob("*") if file.suffix.lower() in PHOTOS)
            found += [file for file in inside if not file.name.startswith(".")]
        elif place.is_file():
            found.append(place)
        else:
            raise ConfigError(f"{place}: no such photo or folder.")
    if not found:
        raise DataError(f"{', '.join(map(str, places)) or 'no place'}: there is no photo in it.")
    return found


def show(console: Console, found: Prediction) -> None:
    """Print the best classes of a photo, and why the first and not the second."""
    say(console, f"{found.photo}: {found.top[0].name}")
    for each in found.top:
        kind = "seen" if each.seen else "unseen"
        say(
            console,
            f"  {each.name} ({kind}): score {each.score:.3f}, probability "
            f"{each.probability:.3f}, rank {each.raw_rank} before calibration",
        )
    say(console, f"  for: {_listed(found.supporting)}")
    if found.opposing:
        say(console, f"  against: {_listed(found.opposing)}")
    if len(found.top) > 1:
        say(
            console,
            f"  why {found.top[0].name} and not {found.top[1].name}: "
            f"{_listed(found.differences)}; against it: {_listed(found.differences[::-1])}",
        )


def _listed(values: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {value:+.3f}" for name, value in values[:SHOWN])


def plain(found: Prediction) -> dict[str, Any]:
    """Return a prediction as JSON has it."""
    return asdict(found)


def write_table(path: Path, found: Sequence[Prediction]) -> None:
    """Write a row a photo as CSV or Parquet, by the file's name."""
    table = pa.table(
        {
            "photo": [each.photo for each in found],
            "class": [each.top[0].name for each in found],
            "seen": [each.top[0].seen for each in found],
            "score": [each.top[0].score for each in found],
            "probability": [each.top[0].probability for each in found],
            "top": ["; ".join(c.name for c in each.top) for each in found],
            "for": [_listed(each.supporting) for each in found],
            "against": [_listed(each.opposing) for each in found],
        }
    )
    if path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        pa.parquet.write_table(table, path)

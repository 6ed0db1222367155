"""What every benchmark ends with: its figures, a line a bar, and the exit status."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure and what it must come to."""

    name: str
    value: float
    bar: float
    least: bool = True
    """Whether the bar is the least that will do; otherwise the most."""

    @property
    def ok(self) -> bool:
        """Whether the figure is on the right side."""
        return self.value >= self.bar if self.least else self.value <= self.bar


def flags(about: str) -> argparse.ArgumentParser:
    """Return a parser that knows `--json` and `--quick`."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write figures and bars into this file")
    parser.add_argument("--quick", action="store_true", help="a small run, to see that it works")
    return parser


def arguments(about: str) -> argparse.Namespace:
    """Return `--json` and `--quick` as given."""
    return flags(about).parse_args()


def finish(figures: Mapping[str, object], bars: list[Bar], file: Path | None) -> None:
    """Print `figures` and `bars`, write them, and exit with 1 if a bar falls short."""
    for name, value in figures.items():
        print(f"{name}: {value}")
    for bar in bars:
        print(f"{'ok' if bar.ok else 'short':5} {bar.name}: {bar.value:.3g} (bar {bar.bar:.3g})")
    if file is not None:
        plain = [
            {k: v for k, v in asdict(bar).items() if k != "least"} | {"ok": bar.ok} for bar in bars
        ]
        file.write_text(json.dumps({"figures": dict(figures), "bars": plain}, indent=1))
    sys.exit(0 if all(bar.ok for bar in bars) else 1)

"""The main job against the line it must beat, on real photos, and the time of the demo.

Runs jobs/tune.py on cub2010_dev (150 bird classes, 4,513 photos, frozen lite0 features) and on
the demo, each in a folder of its own. All figures are of validation classes.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bars import Bar, arguments, finish
from real_data import SHARED

ROOT = Path(__file__).parents[1]


def tune(*more: str) -> tuple[dict[str, Any], float]:
    """Return the outcome of a search and its seconds of wall time."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "jobs" / "tune.py"), "--json", "out.json", *more]
        began = time.monotonic()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return json.loads(Path(folder, "out.json").read_text()), time.monotonic() - began


def gained(outcome: dict[str, Any]) -> float:
    """Return the validation H of the best trial above that of the line to beat."""
    return float(outcome["best"]["H"] - max(line["H"] for line in outcome["baselines"].values()))


def shown(name: str, outcome: dict[str, Any]) -> dict[str, object]:
    """Return the figures of the best trial and of each line."""
    lines = {f"{name} {line}": figures for line, figures in outcome["baselines"].items()}
    return {f"{name} DRMN": outcome["best"], **lines}


def main() -> None:
    """Run both searches and compare."""
    asked = arguments(__doc__ or "")
    photos, trials = ("cub2010_mini", "6") if asked.quick else ("cub2010_dev", "24")
    demo, seconds = tune("--dataset", "demo")
    figures = shown("demo", demo)
    bars = [
        Bar("demo, wall seconds", seconds, 180, least=False),
        Bar("demo, validation H above the line to beat", gained(demo), 0.1),
    ]
    if (SHARED / photos).is_dir():
        root = str(SHARED / photos)
        birds, _ = tune("--dataset", "cub", "--data-root", root, "--budget.trials", trials)
        figures |= shown(photos, birds)
        # 20 training classes of cub2010_mini are little to learn from: there it has to run only.
        least = -1 if asked.quick else 0.03
        bars.append(Bar(f"{photos}, validation H above the line to beat", gained(birds), least))
    else:
        print(f"no {SHARED / photos}: the search on real photos is left out")
    finish(figures, bars, asked.json)


if __name__ == "__main__":
    main()

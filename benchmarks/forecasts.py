"""How near `--plan` comes to what a search takes: six small studies, planned and then run.

Real photos (cub2010_mini) and the demo, other spaces, pruners and numbers of trials. What is
compared is worker time, for the wall depends on the start of Ray too.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bars import Bar, arguments, finish
from quality import ROOT
from real_data import SHARED

PHOTOS = ("--dataset", "cub", "--data-root", str(SHARED / "cub2010_mini"))
STUDIES: dict[str, tuple[str, ...]] = {
    "demo, 12 trials": ("--dataset", "demo", "--budget.trials", "12"),
    "demo, 24 trials": ("--dataset", "demo", "--budget.trials", "24", "--seed", "1"),
    "demo, nothing pruned": (
        *("--dataset", "demo", "--budget.trials", "6", "--policy.pruner", "none"),
    ),
    "birds, 12 trials": (*PHOTOS, "--budget.trials", "12"),
    "birds, 24 trials": (*PHOTOS, "--budget.trials", "24", "--seed", "1"),
    "birds, nothing pruned": (*PHOTOS, "--budget.trials", "6", "--policy.pruner", "none"),
}


def tune(results: Path, *more: str) -> Any:
    """Return what a job writes into its file."""
    with TemporaryDirectory() as folder:
        command = [
            *(sys.executable, str(ROOT / "jobs" / "tune.py"), "--json", "out.json"),
            *("--results", str(results), "--study", Path(folder).name, *more),
        ]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return json.loads(Path(folder, "out.json").read_text())


def main() -> None:
    """Plan and run each."""
    asked = arguments(__doc__ or "")
    results = ROOT / "results" / "benchmarks"
    chosen = dict(list(STUDIES.items())[2:3]) if asked.quick else STUDIES
    figures: dict[str, object] = {}
    errors = []
    for name, more in chosen.items():
        planned = tune(results, *more, "--plan")["worker_hours"]
        spent = tune(results, *more)["spent"]["worker_hours"]
        errors.append(planned[1] / spent - 1)
        low, middle, high = (3600 * hours for hours in planned)
        figures[name] = (
            f"planned {middle:.0f} s ({low:.0f} to {high:.0f}), spent {3600 * spent:.0f} s, "
            f"{100 * errors[-1]:+.0f} %"
        )
        print(f"{name}: {figures[name]}", file=sys.stderr, flush=True)
    worst, middle = max(map(abs, errors)), statistics.median(map(abs, errors))
    bars = [
        Bar("P50 off what was spent, worst", worst, 9 if asked.quick else 0.25, least=False),
        Bar("P50 off what was spent, median", middle, 9 if asked.quick else 0.25, least=False),
    ]
    finish(figures, bars, asked.json)


if __name__ == "__main__":
    main()

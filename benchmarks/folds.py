"""A search on each of the three folds, beside the strongest baseline there, on real photos.

Runs jobs/tune.py as a person does: 24 trials each on cub2010_dev (150 bird classes, 4,513 photos),
frozen tf_efficientnet_lite0 at 224 px with three augmented views, the space of CUB as it is, or
with other options after `--`, such as `-- --views 0 --model.sit attr`. Figures are of the
validation classes, where the settings of both were chosen. The strongest baseline of a fold is the
one of the highest H. `--folder` keeps the studies; started again there, it goes on.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bars import Bar, finish
from whole_way import job, workplace

FOLDS = (1, 2, 3)
METRICS = ("T1", "U", "S", "H", "AUSUC")
BARS = {"H": 4.0, "T1": 3.0}
"""Points that a search has to be above the strongest baseline, in the mean of the folds."""


def search(
    folder: Path, photos: Path, fold: int, trials: int, options: Sequence[str]
) -> dict[str, Any]:
    """Return the outcome of the search on a fold; `options` are more of those of jobs/tune.py."""
    data = ("--dataset", "cub", "--data-root", photos, "--views", "3", "--fold", fold)
    file = folder / f"fold{fold}.json"
    more = ("--budget.trials", trials, "--no-figures", "--json", file.absolute())
    job("tune", folder, *data, "--study", f"fold{fold}", *options, *more)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def points(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of validation in percent, by their names alone."""
    plain = {name.rpartition("/")[2]: value for name, value in metrics.items()}
    return {name: round(100 * plain[name], 1) for name in METRICS}


def main() -> None:
    """Search the folds, print the figures and compare."""
    figures: dict[str, object] = {}
    gains: dict[str, list[float]] = {name: [] for name in BARS}
    with workplace(__doc__ or "", "more options of jobs/tune.py") as (asked, folder, photos):
        for fold in FOLDS[: 1 if asked.quick else None]:
            found = search(folder, photos, fold, 3 if asked.quick else 24, asked.options)
            best = points(found["best"])
            lines = {name: points(line) for name, line in found["baselines"].items()}
            strongest = max(lines, key=lambda name: lines[name]["H"])
            figures[f"fold {fold}, DRMN, trial {found['best']['trial']}"] = best
            figures |= {f"fold {fold}, {name}": line for name, line in lines.items()}
            for name, values in gains.items():
                values.append(best[name] - lines[strongest][name])
            figures[f"fold {fold}, strongest baseline"] = strongest
    bars = [
        Bar(f"{name} above the strongest baseline, points", statistics.mean(gains[name]), least)
        for name, least in BARS.items()
    ]
    # 20 training classes of cub2010_mini are little to learn from: there it has to run only.
    finish(figures, [] if asked.quick else bars, asked.json)


if __name__ == "__main__":
    main()

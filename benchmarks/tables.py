"""Record tables of DRMN's learning curves, which `benchmarks/search.py` replays policies on.

python benchmarks/tables.py cub2010_mini_16+32              # one table, anew if it is there
python benchmarks/tables.py                                 # all that are not there
A table is a full grid: each point is trained once, on real photos, for all epochs, a process a
training. What is recorded stays in results/benchmarks/tables, so the same command goes on after
an interruption; the finished table lies in benchmarks/tables, laid out as Syne Tune's blackboxes.
"""

import argparse
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pool import processes
from quality import ROOT, SETTINGS, store_of
from syne_tune import config_space
from syne_tune.blackbox_repository.blackbox_tabular import BlackboxTabular, serialize

from drmn.config import RunConfig
from drmn.data.splits import development
from drmn.fields import with_overrides
from drmn.space import Value
from drmn.training.loop import fit

FOLDER = Path(__file__).parent / "tables"
EPOCHS = 9
RECORDED = ("val/H", "val/AUSUC", "val/T1", "val/U", "val/S")
SECONDS = "elapsed_time"
"""Syne Tune's name: seconds from a training's start, validation included."""

COMMON: dict[str, Value] = SETTINGS | {
    "model.sit": "none",
    "model.width": 128,
    "optim.epochs": EPOCHS,
    "optim.schedule": "constant",  # each epoch is then what a shorter training would have come to
}
GRID: dict[str, Sequence[Value]] = {
    "optim.lr": [3e-4, 1e-3, 3e-3, 1e-2],
    "model.scale": [3.0, 4.0, 5.0, 6.0],
    "loss.self_calibration": [0.003, 0.03, 0.3],
    "loss.global_branch": [0.1, 0.3, 1.0],
    "loss.attribute_regression": [0.01, 0.3],
    "model.fusion": ["add", "concat"],
}


@dataclass(frozen=True, slots=True)
class Table:
    """What is to be recorded."""

    photos: str
    image_size: int
    grid: Mapping[str, Sequence[Value]]
    constants: Mapping[str, Value] = field(default_factory=dict)

    def points(self) -> list[dict[str, Value]]:
        """Return all points of the grid."""
        names = list(self.grid)
        return [dict(zip(names, p, strict=True)) for p in itertools.product(*self.grid.values())]


TABLES = {
    "cub2010_mini_16+32": Table("cub2010_mini", 112, GRID),
    "cub2010_mini_8+16+32": Table(
        "cub2010_mini",
        112,
        GRID | {"loss.self_calibration": [0.003, 0.1]},
        {"model.levels": "8+16+32"},
    ),
    "cub2010_dev_16+32": Table(
        "cub2010_dev",
        224,
        GRID
        | {"optim.lr": [3e-4, 1e-3, 3e-3], "model.scale": [3.0, 4.5, 6.0]}
        | {"loss.self_calibration": [0.003, 0.1], "loss.global_branch": [0.1, 1.0]},
    ),
}


def recorded(point: Mapping[str, Value], table: Table, store: Path) -> list[list[float]]:
    """Return what each epoch of one training came to, and the seconds up to its end."""
    config = with_overrides(RunConfig(), {**COMMON, **table.constants, **point})
    data = development.open_store(store, fold=config.fold, levels=config.model.levels)
    began, curve = time.monotonic(), []
    for epoch in fit(config, data):
        values = [epoch.metrics[name] for name in RECORDED]
        curve.append([*values, time.monotonic() - began])
    return curve


def record(name: str, workers: int) -> dict[int, list[list[float]]]:
    """Train the points of a table that are not yet recorded; return all curves."""
    table = TABLES[name]
    path = ROOT / "results" / "benchmarks" / "tables" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    curves = {int(each["index"]): each["curve"] for each in map(json.loads, path.open())}
    store, _ = store_of(table.photos, table.image_size)
    points = table.points()
    with processes(workers) as pool, path.open("a") as file:
        asked = {
            pool.submit(recorded, point, table, store): index
            for index, point in enumerate(points)
            if index not in curves
        }
        for done in as_completed(asked):
            curves[asked[done]] = done.result()
            file.write(json.dumps({"index": asked[done], "curve": done.result()}) + "\n")
            file.flush()
            print(f"{name}: {len(curves)} of {len(points)}", flush=True)
    return curves


def domain(values: Sequence[Value]) -> Any:
    """Return the values as Syne Tune has them: numbers are in order, words are not."""
    if isinstance(values[0], str | bool):
        return config_space.choice(list(values))
    return config_space.ordinal(list(values), kind="equal")


def write(name: str, curves: Mapping[int, list[list[float]]]) -> None:
    """Write a table in Syne Tune's layout."""
    table = TABLES[name]
    box = BlackboxTabular(
        hyperparameters=pd.DataFrame(table.points()),
        configuration_space={key: domain(values) for key, values in table.grid.items()},
        fidelity_space={"epochs": config_space.randint(1, EPOCHS)},
        objectives_evaluations=np.array([curves[i] for i in range(len(curves))])[:, None],
        fidelity_values=np.arange(1, EPOCHS + 1),
    )
    box.objectives_names = [*RECORDED, SECONDS]
    FOLDER.mkdir(exist_ok=True)
    about = {
        "metric_mode": "max",
        "elapsed_time_attr": SECONDS,
        "constants": {**COMMON, **table.constants},
        "photos": f"{table.photos} at {table.image_size} px, validation classes of fold 1",
    }
    serialize({name: box}, str(FOLDER / name), metadata=about)


def main() -> None:
    """Record one table, or those that are missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?", choices=list(TABLES))
    parser.add_argument("--workers", type=int, default=None, help="processes; a core each if unset")
    asked = parser.parse_args()
    missing = [name for name in TABLES if not (FOLDER / name / "metadata.json").is_file()]
    for name in [asked.table] if asked.table else missing:
        write(name, record(name, asked.workers))


if __name__ == "__main__":
    main()

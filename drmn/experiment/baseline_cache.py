"""Cache of the closed-form baselines between starts of a job: fitting them takes seconds."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from drmn.data.splits.development import Development
from drmn.evaluation import baselines
from drmn.evaluation.baselines import Baseline
from drmn.experiment import code_digest


def cached_baselines(data: Development, fold: int, folder: Path) -> list[Baseline]:
    """Return the best closed-form models on `data`.

    Args:
        data: The features, of one fold.
        fold: Number of the fold.
        folder: Folder of the cache; files are named by features, fold, and code.
    """
    made = code_digest.digest(("drmn.evaluation.baselines",))
    path = folder / f"{data.digest}-fold{fold}-{made}.json"
    if path.is_file():
        return [Baseline(**each) for each in json.loads(path.read_text())]
    best = baselines.fit_baselines(data)
    folder.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.{os.getpid()}")  # other jobs may be writing it too
    building.write_text(json.dumps([asdict(line) for line in best]))
    building.replace(path)
    return best

"""A search of trials that do nothing; prints what Tune and Ray have made for them."""

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from studies import executor_config

from drmn.cluster.connect import ray_session
from drmn.cluster.resources import ResourceConfig
from drmn.config import RunConfig
from drmn.experiment.trial_task import TrialTask
from drmn.metric_names import COST
from drmn.search.config import PolicyConfig
from drmn.search.executors import tune_executor
from drmn.search.executors.tune_executor import execute
from drmn.search.executors.tune_memory import FreeFinishedTrials
from drmn.search.storage.studies import open_study
from drmn.search.study.ask_tell import AskTellStudy
from drmn.training.stop import ShouldStop

TRIALS, BAD = 5, 3
"""How many, and the seed of one that fails."""


class Idle(TrialTask):
    """A trial of one epoch that does nothing."""

    def epochs(self, device: str, leave: ShouldStop) -> Iterator[dict[str, Any]]:
        """Yield an epoch, or fail."""
        del device, leave
        if self.settings["seed"] == BAD:
            raise ValueError("bad")
        yield {"epoch": 1, "metrics": {self.objective: 0.5, COST: 0.0}}


class Looking(FreeFinishedTrials):
    """Keeps Tune's trials."""

    held: Any = ()

    def on_experiment_end(self, trials: Any, **_: Any) -> None:
        """Keep them."""
        Looking.held = trials


def space(trial: Any) -> dict[str, Any]:
    """Repeat one point, each time with another seed."""
    trial.suggest_float("optim.lr", 1e-3, 1e-3)
    return {"optim.epochs": 1, "model.sit": "none"}


def unused_workers() -> Iterator[int]:
    """Yield the process ids of Ray's workers below this process that have no trial."""
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            if each.cmdline()[:1] == ["ray::IDLE"]:
                yield each.pid


def main(folder: Path) -> None:
    """Search."""
    tune_executor.FreeFinishedTrials = Looking  # type: ignore[misc]
    opened = open_study(folder, {})
    study = AskTellStudy(opened, space, RunConfig(), PolicyConfig(pruner="none"))
    with ray_session():
        one = {"resources": ResourceConfig(backend="inproc"), "at_once": 1}
        execute(study, executor_config(study, folder, Idle, TRIALS, **one))
        unused = list(unused_workers())
    held = [
        {
            "status": trial.status,
            "task": trial.config["task"].task is not None,
            "metrics": sorted(trial.run_metadata.metric_analysis),
            "result": sorted(trial.run_metadata.last_result),
        }
        for trial in Looking.held
    ]
    told = {
        "states": [row.state for row in study.record.trial_summaries()],
        "held": held,
        "resources": len({id(trial.placement_group_factory) for trial in Looking.held}),
        "unused": len(unused),
        "imported": [name for name in ("mlflow", "wandb", "timm") if name in sys.modules],
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

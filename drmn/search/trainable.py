"""A trial on Ray Tune: where the stream of epochs meets Ray."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from ray import tune

from drmn.checkpoint import LAST, load, save
from drmn.config import RunConfig, with_overrides
from drmn.data import development
from drmn.data.development import Development
from drmn.search.folders import keep_best, kept_best
from drmn.train import Epoch, fit


class TrialRunner(tune.Trainable):
    """Runs one trial after another in one process.

    Configuration: `settings` (flat), `folder` of the trial, `store` of the features, `objective`.
    After each epoch the folder holds the state to go on from, and that of the best epoch.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Start, or go on from the last epoch that the trial's folder holds."""
        resources = self.trial_resources.required_resources
        torch.set_num_threads(max(1, int(resources.get("CPU", 1))))
        self._try_to_begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another trial into this process: it costs no start-up."""
        self._try_to_begin(new_config)
        return True

    def _try_to_begin(self, config: Mapping[str, Any]) -> None:
        """Keep an error for `step`: raised here, it would look like the loss of the process."""
        self.problem: Exception | None = None
        try:
            self._begin(config)
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is this trial's
            self.problem = problem

    def _begin(self, config: Mapping[str, Any]) -> None:
        self.folder = Path(config["folder"])
        self.folder.mkdir(parents=True, exist_ok=True)
        run = with_overrides(RunConfig(), config["settings"])
        data = open_data(config["store"], run)
        device = "cuda" if torch.cuda.is_available() else "cpu"  # Ray shows a trial its own GPUs
        state = load(self.folder / LAST)
        self.objective = config["objective"]
        self.best = -1.0 if state is None else state["best"]
        self.kept = {"epoch": 0} if state is None else kept_best(self.folder, state)
        # The driver may not have heard of the last epoch before it died, so it is told again.
        known = {} if state is None else {"epoch": state["number"], "kept": self.kept}
        self.again = None if state is None else state["metrics"] | known
        self.stream: Iterator[Epoch] = fit(run, data, resume=state, device=device)

    def step(self) -> dict[str, Any]:
        """Train one epoch, save it, and return its metrics."""
        if self.problem is not None:
            raise self.problem
        if self.again is not None:
            again, self.again = self.again, None
            return again
        epoch = next(self.stream)
        value = epoch.metrics[self.objective]
        improved = value > self.best
        self.best = max(value, self.best)
        if improved:
            self.kept = {"epoch": epoch.number}  # the rest is known once it is written
        state = epoch.state | {"metrics": epoch.metrics, "best": self.best, "kept": self.kept}
        save(self.folder / LAST, state)
        if improved:
            self.kept = keep_best(self.folder, state)
        return epoch.metrics | epoch.costs | {"epoch": epoch.number, "kept": self.kept}


def open_data(store: str, run: RunConfig) -> Development:
    """Return the data of a run, with the levels that its model uses."""
    return development.open_store(Path(store), fold=run.fold, levels=run.model.levels)

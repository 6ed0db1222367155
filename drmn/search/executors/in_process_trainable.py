"""The backend `inproc`: Ray Tune's own processes train, one trial after another."""

from typing import Any

import torch
from ray import tune

from drmn.cluster import preemption


class InProcessTrainable(tune.Trainable):
    """Runs one trial after another in one process. Configuration: a `task`, in a `TaskRef`."""

    def setup(self, config: dict[str, Any]) -> None:
        """Set up a trial.

        Nothing runs before `step`: to Tune, an error raised here looks like a lost process.
        """
        device = "cuda" if torch.cuda.is_available() else "cpu"  # Ray shows a trial its own GPUs
        self.stream = config["task"].task.epochs(device, preemption.notice_here().is_set)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Set up another trial in this process: it costs no start-up."""
        self.setup(new_config)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch, save it, and return its metrics."""
        return next(self.stream)

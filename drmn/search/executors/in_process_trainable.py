"""The backend `inproc`: Ray Tune's own processes train, one trial after another."""

from typing import Any

import ray
import torch
from ray import tune

from drmn.cluster import preemption
from drmn.search.executors.heartbeat import train


class InProcessTrainable(tune.Trainable):
    """Runs one trial after another in one process. Configuration: a `task`, in a `TaskRef`."""

    def setup(self, config: dict[str, Any]) -> None:
        """Set up a trial.

        Nothing runs before `step`: to Tune, an error raised here looks like a lost process.
        """
        device = "cuda" if torch.cuda.is_available() else "cpu"  # Ray shows a trial its own GPUs
        node = ray.get_runtime_context().get_node_id()
        self.stream = train(config["task"].task, device, node, preemption.notice_here().is_set)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Set up another trial in this process: it costs no start-up."""
        self.setup(new_config)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch, save it, and return its metrics."""
        return next(self.stream)

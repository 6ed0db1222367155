"""The backends `pool` and `trial`: groups of workers of Ray Train's train, Tune's trials ask them.

A Tune trial is then a process that asks the board and waits: it needs no core, and when Tune ends
it no worker ends with it, which can hang a search for ever (ray#65443).
"""

from typing import Any

import ray
from ray import tune
from ray.exceptions import RayTaskError

HEAD = {"CPU": 0, "node:__internal_head__": 0.001}
"""What such a trial holds: a place on the head, no core. Ray refuses a trial that needs nothing."""


class PoolTrainable(tune.Trainable):
    """Asks for one trial after another. Configuration: a `task`, and the actor `board`."""

    def setup(self, config: dict[str, Any]) -> None:
        """Put the trial up."""
        self.board, self.asked = config["board"], config["name"]
        ray.get(self.board.submit.remote(self.asked, config["task"].task))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Put another trial up: it costs no start-up."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Return the metrics of the next epoch."""
        try:
            told: dict[str, Any] = ray.get(self.board.next.remote(self.asked))
        except RayTaskError as problem:
            raise problem.cause from None
        return told

"""The backends `pool` and `trial`: worker groups of Ray Train train, Tune's trials wait for them.

A Tune trial is then a process that calls the `TrialQueue` and waits: it needs no core, and when
Tune ends it no worker ends with it, which can hang a search for ever (ray#65443).
"""

from typing import Any

import ray
from ray import tune
from ray.exceptions import RayActorError, RayTaskError

from drmn.errors import last_line
from drmn.search.executors.trial_queue import LostQueueError

HEAD = {"CPU": 0, "node:__internal_head__": 0.001}
"""Resources of such a trial: a place on the head, no core. Ray refuses a trial without any."""


class PoolTrainable(tune.Trainable):
    """Submits one trial after another. Configuration: `name`, `task` and `board`, the queue."""

    def setup(self, config: dict[str, Any]) -> None:
        """Submit the trial."""
        self.board, self.asked = config["board"], config["name"]
        self._get(self.board.submit.remote(self.asked, config["task"].task))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Submit another trial: it costs no start-up."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Return the metrics of the next epoch."""
        result: dict[str, Any] = self._get(self.board.next.remote(self.asked))
        return result

    def _get(self, answer: Any) -> Any:
        """Return the queue's answer, or raise what it raised.

        Raises:
            LostQueueError: Its process died.
        """
        try:
            return ray.get(answer)
        except RayTaskError as problem:
            raise problem.cause from None
        except RayActorError as problem:
            raise LostQueueError(last_line(problem)) from None

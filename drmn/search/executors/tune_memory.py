"""Memory of Ray Tune's finished trials is freed: the record has all of it."""

from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from drmn.experiment.trial_task import TrialTask


class TaskRef:
    """A task as Tune passes it to a trial: not copied, and emptied once the trial is over.

    Tune keeps the settings of all trials until the search ends, and a copy of each.
    """

    def __init__(self, task: TrialTask) -> None:
        self.task: TrialTask | None = task

    def __deepcopy__(self, memo: object) -> "TaskRef":
        """Return itself: one object has to be emptied, not its copies."""
        return self


class FreeFinishedTrials(tune.Callback):
    """Empties each of Tune's trials once it is over.

    That frees its settings, some statistics of every metric, its last result, and the resources
    that it asked for where another asked for the same.
    """

    def __init__(self) -> None:
        self.resources: dict[tune.PlacementGroupFactory, tune.PlacementGroupFactory] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave Tune's snapshots empty."""
        return {}

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **_: Any
    ) -> None:
        """Forget a trial that is complete or was stopped."""
        del iteration, trials
        self._forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Forget a trial that failed or lost its process; it runs again as another of Tune's."""
        del iteration, trials
        self._forget(trial)

    def _forget(self, trial: Trial) -> None:
        trial.config["task"].task = None
        known = trial.run_metadata
        trial.run_metadata = type(known)()
        trial.run_metadata.checkpoint_manager = known.checkpoint_manager  # Tune's end looks at it
        asked = trial.placement_group_factory
        trial.placement_group_factory = self.resources.setdefault(asked, asked)

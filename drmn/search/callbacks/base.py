"""The base class of callbacks, which observe a search."""

from drmn.metric_names import Metrics
from drmn.search.trial_summary import TrialSpec, TrialSummary


class Callback:
    """Observes a search; each method does nothing unless a subclass overrides it.

    The driver waits for each call, so none may take long.
    """

    def on_trial_start(self, point: TrialSpec) -> None:
        """Handle a trial that starts, or resumes after it lost its process."""

    def on_epoch_end(self, number: int, epoch: int, metrics: Metrics) -> None:
        """Handle the end of an epoch of trial `number`."""

    def on_trial_end(self, row: TrialSummary) -> None:
        """Handle a trial that is complete, pruned or failed."""

    def on_study_end(self) -> None:
        """Handle the end of the search, for now: a later start may resume the study."""

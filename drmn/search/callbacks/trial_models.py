"""The event with the models of a study's trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drmn.metric_names import best_of
from drmn.search.callbacks.study_metadata import StudyMetadata
from drmn.search.trial_summary import TrialSummary
from drmn.tracking import events


@dataclass(frozen=True, slots=True)
class TrialModel:
    """The packed network of a trial."""

    row: TrialSummary
    run: str
    """Key of its run."""
    name: str
    folder: Path
    """Folder of the package."""

    def plain(self) -> dict[str, object]:
        """Return it as the event has it."""
        return {
            "run": self.run,
            "name": self.name,
            "folder": str(self.folder.absolute()),
            "metrics": best_of(self.row.metrics),
            "step": self.row.best_epoch,
        }


def trial_models(key: str, packed: Sequence[TrialModel], about: StudyMetadata) -> events.Keyed:
    """Return the event that logs the packed trials, the best first, and registers the best.

    Args:
        key: Key of the run of the study.
        packed: The packed trials, at least one.
        about: The study's metadata.
    """
    value = packed[0].row.metrics["val/H"]
    best = events.registered(about.experiment, about.data, value)
    return events.models(key, [model.plain() for model in packed], best)

"""The events of a run at fixed settings: MLflow shows it flat, without a study above a trial."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drmn.search.callbacks.mlflow_logger import MlflowLogger
from drmn.search.storage.names import kind_of
from drmn.search.study.read_only import StudyView
from drmn.search.trial_summary import TrialSummary
from drmn.tracking import events
from drmn.tracking.spool import Spool


class MlflowRunLogger(MlflowLogger):
    """Puts the events of a study of one trial into a spool, all of them as one run of MLflow."""

    def _study(self) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Return the settings and tags of the run."""
        settings = dict(self.record.study.user_attrs["identity"])
        return settings, {
            "kind": "run",
            **{key: str(settings[key]) for key in ("tier", "fold", "seed")},
        }

    def _baselines(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Log the baselines as metrics of the run."""
        found = {f"baseline/{line['name']}_H": line["metrics"]["val/H"] for line in lines}
        run, event = events.metrics(self.key, found, 0, self.started)
        self.spool.put(f"{run}#baselines", event)

    def _start(self, row: TrialSummary) -> None:
        """Log nothing: the run exists already."""

    def _stands(self, row: TrialSummary) -> None:
        """Log nothing: there are no totals of one trial."""

    def _end(self, row: TrialSummary) -> None:
        """Log the best epoch; the end of the run is logged at the search's end."""
        self._best(row)

    def on_search_end(self, why: str, *, failed: bool = False) -> None:
        """Log the end of the run, for now: a later start may resume it."""
        states = [trial.state for trial in self.record.trial_summaries()]
        super().on_search_end(why, failed=failed or "FAIL" in states)

    def _end_tags(self, why: str) -> dict[str, str]:
        del why  # no budget ends a run
        trials = self.record.trial_summaries()
        return self._trial_tags(trials[0]) if trials else {}

    def _model_name(self, number: int) -> str:
        del number
        return self.name

    def _run(self, number: int) -> str:
        del number
        return self.key


def logger_of(spool: Spool, folder: Path, record: StudyView) -> MlflowLogger:
    """Return the logger of the study or run of a folder."""
    kind = MlflowRunLogger if kind_of(folder) == "run" else MlflowLogger
    return kind(spool, folder, record)

"""Redraws a study's figures while it runs, in a separate process of the lowest priority.

A search waits for its last figures alone.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from drmn.errors import StudyError
from drmn.experiment.trial_checkpoints import FIGURES
from drmn.io.content import is_made
from drmn.report.figures import drawn_of
from drmn.search.callbacks.base import Callback
from drmn.search.storage.studies import load_study
from drmn.search.trial_summary import TrialSummary

REDRAW_GROWTH, REDRAW_INTERVAL_S = 1.25, 60.0
"""Figures are redrawn when there are so many times the trials, and after so many seconds."""


class LiveFigures(Callback):
    """Redraws the figures of a search.

    Args:
        folder: Folder of the study.
        storage: The PostgreSQL that holds its record, if one does.
        wanted: Whether any are drawn.
    """

    def __init__(self, folder: Path, storage: str, *, wanted: bool) -> None:
        self.folder, self.storage, self.wanted = folder, storage, wanted
        self.trials, self.drawn, self.at = 0, 0, time.monotonic()
        self.process: subprocess.Popen[bytes] | None = None

    def on_trial_end(self, row: TrialSummary) -> None:
        """Count a trial, and redraw if there are enough new ones."""
        del row
        self.trials += 1
        rested = time.monotonic() - self.at > REDRAW_INTERVAL_S
        if self.wanted and rested and self.trials > REDRAW_GROWTH * self.drawn and not self._busy():
            self._draw()

    def on_study_end(self) -> None:
        """Draw for the last time, and wait for it; figures that fail do not fail the search."""
        if not self.wanted:
            return
        if self.process is not None:
            self.process.wait()
        if not self._whole():
            self._draw().wait()

    def _whole(self) -> bool:
        """Return whether the figures are unchanged, and show the study as it is now."""
        try:
            study = load_study(self.folder.parent, self.folder.name, self.storage)
        except StudyError:
            return False
        return is_made(self.folder / FIGURES, drawn_of(study))

    def _busy(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _draw(self) -> subprocess.Popen[bytes]:
        self.drawn, self.at = self.trials, time.monotonic()
        command = ["nice", "-n", "19", sys.executable, "-m", "drmn.report.figures"]
        command += [str(self.folder)] + (["--storage", self.storage] if self.storage else [])
        with (self.folder / "figures.log").open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C is for the driver
            )
        return self.process

"""Checkpoints of a study's trials, and the folders that they are in."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drmn.experiment.study_layout import TRIALS
from drmn.training.checkpoint import BEST, LAST, Saved, State, save

PACKAGE, PICTURE, CURVE = "package", "attention.png", "seen-unseen.png"
"""Names in a trial's folder: packed network, attention maps, accuracies at every gamma."""
PICTURES = "pictures"
"""Folder of attention maps drawn in training, in a trial's folder and in MLflow's artifacts."""
OWNER = "holder"
"""File of a running trial's folder: the name of the process that may write there."""


def trial_folder(study: Path, number: int) -> Path:
    """Return the folder of a trial's checkpoints."""
    return study / TRIALS / f"{number:04d}"


def snapshot_path(folder: Path, epoch: int) -> Path:
    """Return where the attention maps of an epoch are drawn, in a trial's folder."""
    return folder / PICTURES / f"epoch-{epoch:03d}.png"


class StaleWriterError(Exception):
    """Another process has resumed a trial: results of this one are no longer wanted."""


class CheckpointWriter:
    """Writes into a trial's folder for the process that opened it last, and for no other.

    A process that was cut off from the cluster does not know that it was given up. When its network
    is back it may still be writing, and would replace a newer state by an old one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, secrets.token_hex(8)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / OWNER).write_text(self.name)
        for unfinished in folder.glob("*.tmp"):  # a process still writing it cannot rename it
            unfinished.unlink(missing_ok=True)

    def last(self, state: State) -> None:
        """Save the state that the trial resumes from."""
        self._save(LAST, state)

    def best(self, state: State) -> Mapping[str, Any]:
        """Save an epoch as the trial's best; return its `epoch`, `sha256` and `bytes`."""
        saved = self._save(BEST, {"model": state["model"], "metrics": state["metrics"]})
        return {"epoch": state["number"], **saved._asdict()}

    def known_best(self, state: State) -> Mapping[str, Any]:
        """Return the best epoch's checkpoint, as `best` does, from the state of a resumed trial.

        `state` is written before the best epoch's file: the process may have died between the two,
        so the file is written again. A part of an epoch is written after both.
        """
        kept: Mapping[str, Any] = state["kept"]
        again = kept["epoch"] == state["number"] and "part" not in state
        return self.best(state) if again else kept

    def _save(self, name: str, state: State) -> Saved:
        """Save a file.

        Raises:
            StaleWriterError: Another process has resumed the trial.
        """
        try:
            if (self.folder / OWNER).read_text() == self.name:
                return save(self.folder / name, state)
        except FileNotFoundError:
            pass
        raise StaleWriterError(f"{self.folder}: another process has gone on with this trial.")


def drop_best(folder: Path) -> None:
    """Remove the best epoch of a trial: it exceeds the disk quota."""
    (folder / BEST).unlink(missing_ok=True)


def drop_last(folder: Path) -> None:
    """Remove the state that a trial would resume from: it is over. Its best epoch stays."""
    for name in (LAST, OWNER):
        (folder / name).unlink(missing_ok=True)


FIGURES = "figures"
"""Folder of figures, in a study's folder and in MLflow's artifacts."""

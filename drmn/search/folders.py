"""Where the trials of a study keep their checkpoints."""

from pathlib import Path

from drmn.checkpoint import LAST


def trial_folder(study: Path, number: int) -> Path:
    """Return the folder of a trial's checkpoints."""
    return study / "trials" / f"{number:04d}"


def drop_last(folder: Path) -> None:
    """Remove what a trial would go on from: it is over. Its best epoch stays."""
    (folder / LAST).unlink(missing_ok=True)

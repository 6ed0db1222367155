"""Networks of the best trials, packed for MLflow."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from drmn.config import RunConfig, with_overrides
from drmn.data.splits.development import Development
from drmn.errors import DataError
from drmn.experiment.model_export import Packed, pack
from drmn.experiment.trial_checkpoints import PACKAGE, trial_folder
from drmn.search.trial_summary import TrialSummary
from drmn.training.checkpoint import BEST, State, load, sha256_of


def pack_trial(study: Path, row: TrialSummary, data: Development, store: Path) -> Packed:
    """Write the network of a trial's best epoch into the trial's folder."""
    place = trial_folder(study, row.number) / PACKAGE
    return pack(
        place, with_overrides(RunConfig(), row.settings), best_state(study, row), data, store
    )


def pack_best(
    study: Path, rows: Sequence[TrialSummary], data: Development, store: Path
) -> list[Packed]:
    """Pack the networks of these trials, and remove those of all others of the study."""
    kept = {row.number for row in rows}
    for folder in study.glob(f"trials/*/{PACKAGE}"):
        if int(folder.parent.name) not in kept:
            shutil.rmtree(folder)
    return [pack_trial(study, row, data, store) for row in rows]


def best_state(study: Path, row: TrialSummary) -> State:
    """Return the state of a trial's best epoch.

    Raises:
        DataError: The file is gone, damaged, or not the one that the trial wrote.
    """
    path = trial_folder(study, row.number) / BEST
    again = f"--warm-start {study.name} --study NAME trains its settings again"
    state = load(path)
    if state is None:
        raise DataError(
            f"{path}: the best trial's checkpoint is gone or damaged; put a copy back, or {again}."
        )
    if sha256_of(path) != row.checkpoint.get("sha256"):
        raise DataError(
            f"{path}: not the checkpoint that trial {row.number} wrote at epoch {row.best_epoch}, "
            f"by its SHA-256 in the record; put that back, or {again}."
        )
    return state

"""Networks of the best trials, packed for MLflow."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from drmn.config import RunConfig
from drmn.data.splits.development import Development
from drmn.errors import DataError
from drmn.experiment import code_digest
from drmn.experiment.model_export import Packed, pack
from drmn.experiment.trial_checkpoints import CURVE, PACKAGE, PICTURE, trial_folder
from drmn.fields import with_overrides
from drmn.io.content import is_made, note_made
from drmn.search.trial_summary import TrialSummary
from drmn.tracking.model_package import load as load_package
from drmn.training.checkpoint import BEST, State, load, sha256_of


def pack_best(
    study: Path,
    rows: Sequence[TrialSummary],
    data: Development,
    store: Path,
    pictures: Callable[[Packed], object],
) -> None:
    """Pack the networks of these trials, and remove those of all others of the study.

    Complete packages of the same checkpoint and by the same code stay as they are.

    Args:
        study: The study's folder.
        rows: The trials, the best first.
        data: The development images, for their classes.
        store: The feature store.
        pictures: Draws the pictures of the first one, beside its package.
    """
    kept = {row.number for row in rows}
    for folder in study.glob(f"trials/*/{PACKAGE}"):
        if int(folder.parent.name) not in kept:
            shutil.rmtree(folder)
    code = code_digest.digest(("drmn.experiment.model_export",))
    for row in rows:
        state, of = best_state(study, row), _made_of(row, store, code)
        folder = trial_folder(study, row.number)
        drawn = [folder / name for name in (PICTURE, CURVE) if row == rows[0]]
        if all(is_made(place, of) for place in (folder / PACKAGE, *drawn)):
            continue
        if is_made(folder / PACKAGE, of):
            packed = Packed(folder / PACKAGE, load_package(folder / PACKAGE))
        else:
            run = with_overrides(RunConfig(), row.settings)
            packed = pack(folder / PACKAGE, run, state, data, store)
            note_made(folder / PACKAGE, of)
        if drawn:
            pictures(packed)
        for picture in drawn:
            if picture.exists():
                note_made(picture, of)


def _made_of(row: TrialSummary, store: Path, code: str) -> dict[str, str]:
    """Return all that decides a package and its pictures."""
    return {"checkpoint": row.checkpoint["sha256"], "features": store.name, "code": code}


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

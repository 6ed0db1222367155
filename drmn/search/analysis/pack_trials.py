"""Networks of the trials, packed for MLflow: the best one whole, all share its backbone."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from drmn.config import RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.data.splits.development import Development
from drmn.errors import DataError
from drmn.experiment import code_digest
from drmn.experiment.model_export import Packed, pack
from drmn.experiment.trial_checkpoints import CURVE, PACKAGE, PICTURE, trial_folder
from drmn.fields import with_overrides
from drmn.io.content import is_made, note_made, remove_made
from drmn.model.backbone import Backbone
from drmn.model.extraction import backbone_of
from drmn.search.trial_summary import TrialSummary
from drmn.tracking.model_package import load as load_package
from drmn.tracking.package_files import BACKBONE_FILE, holds_backbone, size_of
from drmn.training.checkpoint import BEST, State, load, sha256_of


@dataclass(slots=True)
class PackedTrials:
    """What was packed of a study's trials."""

    rows: list[TrialSummary] = field(default_factory=list)
    """The trials that have a package, the best first."""
    damaged: list[str] = field(default_factory=list)
    """A sentence for each trial whose checkpoint is gone or damaged."""
    over: int = 0
    """Trials, the worst ones, that the limit has no room for."""


@dataclass(frozen=True)
class Packer:
    """Packs trials of one study.

    Args:
        study: The study's folder.
        data: The development images, for their classes.
        store: The feature store.
        pictures: Draws the pictures of the best one, beside its package.
    """

    study: Path
    data: Development
    store: Path
    pictures: Callable[[Packed], object]

    def pack(self, rows: Sequence[TrialSummary], limit: float) -> PackedTrials:
        """Pack the networks of these trials, and remove those of all others of the study.

        Complete packages of the same checkpoint and by the same code stay as they are. A trial
        whose checkpoint is gone or damaged has none; the others have.

        Args:
            rows: The trials, the best first.
            limit: Bytes that all packages may take; the best one is packed in any case.
        """
        made, code, taken = PackedTrials(), code_digest.digest(("drmn.experiment.model_export",)), 0
        for row in rows:
            if made.over or (made.rows and taken >= limit):
                made.over += 1
                continue
            try:
                folder = self._pack(row, code, first=not made.rows)
            except DataError as problem:
                made.damaged.append(str(problem))
                continue
            taken += size_of(folder)
            if taken > limit and made.rows:
                made.over = 1
            else:
                made.rows.append(row)
        kept = {row.number for row in made.rows}
        for folder in self.study.glob("trials/*"):
            if int(folder.name) not in kept:
                remove_made(folder / PACKAGE)
        return made

    @cached_property
    def _backbone(self) -> tuple[Backbone, FeatureConfig]:
        """The frozen backbone, loaded once for all trials."""
        return backbone_of(self.store)

    def _pack(self, row: TrialSummary, code: str, *, first: bool) -> Path:
        """Pack one trial, the `first` with its own copy of the backbone; return the package.

        Raises:
            DataError: Its checkpoint is gone or damaged.
        """
        of = {"checkpoint": row.checkpoint["sha256"], "features": self.store.name, "code": code}
        folder = trial_folder(self.study, row.number)
        package = folder / PACKAGE
        drawn = [folder / name for name in (PICTURE, CURVE) if first]
        whole = is_made(package, of) and (holds_backbone(package) or not first)
        if whole and all(is_made(place, of) for place in drawn):
            return package
        if whole:
            packed = Packed(package, load_package(package))
        else:
            state = best_state(self.study, row)
            shutil.rmtree(package, ignore_errors=True)
            run = with_overrides(RunConfig(), row.settings)
            shared = None if first else self.study / BACKBONE_FILE
            packed = pack(
                *(package, run, state, self.data, self.store), shared=shared, frozen=self._backbone
            )
            note_made(package, of)
        if first:
            self.pictures(packed)
        for picture in drawn:
            if picture.exists():
                note_made(picture, of)
        return package


def best_state(study: Path, row: TrialSummary) -> State:
    """Return the state of a trial's best epoch.

    Raises:
        DataError: The file is gone, damaged, or not the one that the trial wrote.
    """
    path = trial_folder(study, row.number) / BEST
    again = f"python jobs/train.py --from {study.name}/{row.number} trains it again"
    state = load(path)
    if state is None:
        raise DataError(
            f"{path}: the checkpoint of trial {row.number} is gone or damaged; put a copy back, or "
            f"{again}."
        )
    if sha256_of(path) != row.checkpoint.get("sha256"):
        raise DataError(
            f"{path}: not the checkpoint that trial {row.number} wrote at epoch {row.best_epoch}, "
            f"by its SHA-256 in the record; put that back, or {again}."
        )
    return state

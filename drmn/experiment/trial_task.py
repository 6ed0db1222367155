"""A trial as every backend runs it: the stream of its epochs, each saved before it is reported."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from drmn import distributed
from drmn.config import RunConfig
from drmn.data.images.catalogue import Catalogue
from drmn.experiment.config import NO_PICTURES, PicturesConfig
from drmn.experiment.open_data import open_run_data
from drmn.experiment.system_metrics import SystemMetrics
from drmn.experiment.trial_checkpoints import CheckpointWriter
from drmn.fields import with_overrides
from drmn.metric_names import COST, Metrics
from drmn.model.finetuned import FinetunedNetwork
from drmn.training.checkpoint import LAST, State, load
from drmn.training.loop import Epoch, assemble, fit
from drmn.training.stop import PreemptedError, ShouldStop, TrialPreemptedError

NEW_TRIAL: State = {"best": -1.0, "kept": {"epoch": 0}, "told": None, "spent": 0.0}
"""State of a trial that has no epoch: the best value, the checkpoint that is kept, the result of
the last epoch, and the seconds already spent on the next one."""


class TrialProgress:
    """Best and last epoch of a trial, saved after each epoch.

    Args:
        objective: The metric that the best epoch maximises.
        writer: Writes the checkpoints; None on all workers but the first.
        state: The state that the trial resumes from, if it does.
        trial: Digest of the trial, by which its states are known again (`TrialTask.digest`).
    """

    def __init__(
        self, objective: str, writer: CheckpointWriter | None, state: State | None, trial: str
    ) -> None:
        known = NEW_TRIAL if state is None else state
        self.objective, self.writer, self.trial = objective, writer, trial
        self.best, self.kept, self.last = known["best"], known["kept"], known["told"]
        self.spent: float = known["spent"]
        if writer is not None and state is not None:
            self.kept = writer.known_best(state)

    def result(self) -> dict[str, Any]:
        """Return the last epoch's number and metrics, and the checkpoint of the best one."""
        return self.last | {"kept": self.kept}

    def add(self, epoch: Epoch, metrics: Metrics) -> dict[str, Any]:
        """Save an epoch; return its result."""
        self.last = {"epoch": epoch.number, "metrics": dict(metrics)}
        value = epoch.metrics[self.objective]
        improved, self.best = value > self.best, max(value, self.best)
        if improved:
            self.kept = {"epoch": epoch.number}  # the rest is known once it is written
        if self.writer is not None:
            whole = epoch.state | {"metrics": epoch.metrics} | self._known(0.0)
            self.writer.last(whole)
            if improved:
                self.kept = self.writer.best(whole)
        return self.result()

    def add_part(self, state: State, seconds: float) -> None:
        """Save a part of an epoch, which took `seconds`."""
        if self.writer is not None:
            self.writer.last(state | self._known(seconds))

    def _known(self, spent: float) -> State:
        known = {"told": self.last, "best": self.best, "kept": self.kept, "spent": spent}
        return {**known, "trial": self.trial}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialTask:
    """A trial to run; it is sent to the process that runs it."""

    settings: Mapping[str, Any]
    """Settings of the run, flat."""
    folder: str
    """Folder of the trial, on storage that every worker reaches: the state to resume from, and that
    of the best epoch."""
    store: str
    """The feature store."""
    catalogue: Catalogue | None = None
    """The photos, for the finetuned tier and for pictures."""
    objective: str
    """The metric that the best epoch maximises."""
    study: str = ""
    """Key of the study's record."""
    threads: int = 1
    system: bool = False
    """Whether system metrics are among an epoch's."""
    pictures: PicturesConfig = NO_PICTURES
    """Attention maps to draw into the folder while it trains."""

    def check(self) -> None:
        """Raise `UserError` for settings that this data or backbone cannot serve."""
        self._picture()
        run, data, backbone = open_run_data(self.settings, Path(self.store), self.catalogue)
        network = assemble(run, data, backbone)
        if isinstance(network, FinetunedNetwork):
            network.configure(run.compute)

    def epochs(self, device: str, leave: ShouldStop) -> Iterator[dict[str, Any]]:
        """Train, from the checkpoint in the folder if there is one; yield each epoch's result.

        The last epoch is yielded again on resume: the driver may not have received it before it
        died. Where several workers train together each runs this, and the first saves.

        Raises:
            TrialPreemptedError: `leave` returned True; the folder holds the finished part.
            StaleWriterError: Another process has resumed the trial.
        """
        torch.set_num_threads(self.threads)
        folder, first = Path(self.folder), distributed.rank() == 0
        writer = CheckpointWriter(folder) if first else None
        run, data, backbone = open_run_data(self.settings, Path(self.store), self.catalogue)
        resume = self._own(load(folder / LAST))
        trial = TrialProgress(self.objective, writer, resume, self.digest)
        if trial.last is not None:
            yield trial.result()
        machine = SystemMetrics() if self.system else None
        draw = self._picture() if first else None
        began = time.monotonic() - trial.spent
        try:
            for epoch in fit(
                run, data, backbone=backbone, resume=resume, device=device, leave=leave
            ):
                seconds = distributed.world() * (time.monotonic() - began)
                metrics = epoch.metrics | epoch.costs | {COST: seconds}
                metrics |= {} if machine is None else machine.sample()
                if draw is not None:
                    draw(epoch)
                yield trial.add(epoch, metrics)
                began = time.monotonic()
        except PreemptedError as leaving:
            trial.add_part(leaving.state, time.monotonic() - began)
            raise TrialPreemptedError(str(leaving)) from None

    @property
    def digest(self) -> str:
        """16 hex digits of all that decides a trial's epochs: its states belong to no other."""
        settings = {k: v for k, v in self.settings.items() if not k.startswith("compute.")}
        basis = self.study, Path(self.folder).name, settings, Path(self.store).name, self.objective
        return hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()[:16]

    def _own(self, state: State | None) -> State | None:
        """Return the state if this trial saved it; another's is put aside."""
        if state is None or state.get("trial") == self.digest:
            return state
        last = Path(self.folder) / LAST
        if distributed.rank() == 0:
            last.replace(last.with_suffix(".other"))
        print(  # noqa: T201 - the log of the trial's process
            f"{last}: the state of another trial, study or data; put aside, training starts anew.",
            file=sys.stderr,
        )
        return None

    def _picture(self) -> Callable[[Epoch], None] | None:
        """Return a function that draws an epoch's attention maps, if wanted and possible."""
        if not self.pictures.every or self.catalogue is None:
            return None
        # It imports Matplotlib: not for trials that draw nothing.
        from drmn.experiment.attention_snapshots import (  # noqa: PLC0415
            AttentionSnapshots,
            is_wanted,
        )

        run, store = with_overrides(RunConfig(), self.settings), Path(self.store)
        if not is_wanted(run, store, self.catalogue, self.pictures):
            return None
        folder = Path(self.folder)
        return AttentionSnapshots(run, store, self.catalogue, folder, self.pictures).draw

"""A trial as every engine runs it: the stream of its epochs, each saved before it is told."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from drmn import distributed
from drmn.data.images.catalogue import Catalogue
from drmn.experiment.open_data import open_run_data
from drmn.experiment.system_metrics import SystemMetrics
from drmn.experiment.trial_checkpoints import CheckpointWriter
from drmn.metric_names import COST
from drmn.training.checkpoint import LAST, State, load
from drmn.training.loop import fit
from drmn.training.stop import PreemptedError, ShouldStop, TrialPreemptedError

NEW_TRIAL: State = {"best": -1.0, "kept": {"epoch": 0}, "told": None, "spent": 0.0}
"""What is known of a trial that has no epoch: the best value, the checkpoint that is kept, what the
last epoch came to, and the seconds that went into the next one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialTask:
    """A trial to run; it travels to whoever runs it."""

    settings: Mapping[str, Any]
    """Flat."""
    folder: str
    """Of the trial, on storage that every worker reaches: the state to go on from, and that of the
    best epoch."""
    store: str
    """The feature store."""
    catalogue: Catalogue | None = None
    """The photos, for the finetuned tier."""
    objective: str
    """What the best epoch is best at."""
    threads: int = 1
    system: bool = False
    """Whether it is told how busy the machine is."""

    def epochs(self, device: str, leave: ShouldStop) -> Iterator[dict[str, Any]]:
        """Train, from where the folder says; yield what each epoch came to.

        Who asked may not have heard of the last epoch before it died, so it is told again. Where
        several workers train together each runs this, and the first saves.

        Raises:
            LeftError: `leave` said so; the folder holds the part of the epoch that is done.
            TakenOverError: Another process has gone on with the trial.
        """
        torch.set_num_threads(self.threads)
        folder = Path(self.folder)
        keeper = CheckpointWriter(folder) if distributed.rank() == 0 else None
        run, data, backbone = open_run_data(self.settings, Path(self.store), self.catalogue)
        state = load(folder / LAST)
        known = NEW_TRIAL if state is None else state
        best, kept, told = known["best"], known["kept"], known["told"]
        if keeper is not None and state is not None:
            kept = keeper.known_best(state)
        if told is not None:
            yield told | {"kept": kept}
        machine = SystemMetrics() if self.system else None
        began = time.monotonic() - known["spent"]
        try:
            for epoch in fit(
                run, data, backbone=backbone, resume=state, device=device, leave=leave
            ):
                seconds = distributed.world() * (time.monotonic() - began)
                metrics = epoch.metrics | epoch.costs | {COST: seconds}
                metrics |= {} if machine is None else machine.sample()
                told = {"epoch": epoch.number, "metrics": metrics}
                value = epoch.metrics[self.objective]
                improved, best = value > best, max(value, best)
                if improved:
                    kept = {"epoch": epoch.number}  # the rest is known once it is written
                if keeper is not None:
                    whole = epoch.state | {"metrics": epoch.metrics, "told": told}
                    whole |= {"best": best, "kept": kept, "spent": 0.0}
                    keeper.last(whole)
                    if improved:
                        kept = keeper.best(whole)
                yield told | {"kept": kept}
                began = time.monotonic()
        except PreemptedError as leaving:
            if keeper is not None:
                part = {"told": told, "best": best, "kept": kept}
                keeper.last(leaving.state | part | {"spent": time.monotonic() - began})
            raise TrialPreemptedError(str(leaving)) from None

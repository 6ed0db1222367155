"""A trial as every engine runs it: the stream of its epochs, each saved before it is told."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from drmn import parallel
from drmn.checkpoint import LAST, load, save
from drmn.data.catalogue import Catalogue
from drmn.search.folders import keep_best, kept_best
from drmn.search.machine import Machine
from drmn.search.opening import opened
from drmn.search.settings import COST
from drmn.train import fit


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
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

    def epochs(self, device: str) -> Iterator[dict[str, Any]]:
        """Train, from the last epoch that the folder holds; yield what each came to.

        Who asked may not have heard of that last epoch before it died, so it is told again. Where
        several workers train together each runs this, and the first saves.
        """
        torch.set_num_threads(self.threads)
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        run, data, backbone = opened(self.settings, Path(self.store), self.catalogue)
        state, first = load(folder / LAST), parallel.rank() == 0
        best = -1.0
        kept: Mapping[str, Any] = {"epoch": 0}
        if state is not None:
            best, kept = state["best"], kept_best(folder, state) if first else state["kept"]
            yield state["told"] | {"kept": kept}
        machine = Machine() if self.system else None
        began = time.monotonic()
        for epoch in fit(run, data, backbone=backbone, resume=state, device=device):
            seconds = parallel.world() * (time.monotonic() - began)
            told = epoch.metrics | epoch.costs | {COST: seconds, "epoch": epoch.number}
            told |= {} if machine is None else machine.look()
            value = epoch.metrics[self.objective]
            improved, best = value > best, max(value, best)
            if improved:
                kept = {"epoch": epoch.number}  # the rest is known once it is written
            if first:
                whole = epoch.state | {"metrics": epoch.metrics, "told": told}
                whole |= {"best": best, "kept": kept}
                save(folder / LAST, whole)
                if improved:
                    kept = keep_best(folder, whole)
            yield told | {"kept": kept}
            began = time.monotonic()

"""A trial as every engine runs it: the stream of its epochs, each saved before it is told."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from drmn import parallel
from drmn.checkpoint import BEST, LAST, load, save
from drmn.data.catalogue import Catalogue
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

    def epochs(self, device: str) -> Iterator[dict[str, Any]]:
        """Train, from the last epoch that the folder holds; yield what each came to.

        Who asked may not have heard of that last epoch before it died, so it is told again. Where
        several workers train together each runs this, and the first saves.
        """
        torch.set_num_threads(self.threads)
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        run, data, backbone = opened(self.settings, Path(self.store), self.catalogue)
        state = load(folder / LAST)
        best = -1.0 if state is None else state["best"]
        if state is not None:
            yield state["metrics"] | {"epoch": state["number"]}
        began = time.monotonic()
        for epoch in fit(run, data, backbone=backbone, resume=state, device=device):
            seconds = parallel.world() * (time.monotonic() - began)
            value = epoch.metrics[self.objective]
            improved, best = value > best, max(value, best)
            if parallel.rank() == 0:
                whole = epoch.state | {"metrics": epoch.metrics, "best": best}
                if improved:
                    save(folder / BEST, {"model": whole["model"], "metrics": epoch.metrics})
                save(folder / LAST, whole)
            yield epoch.metrics | epoch.costs | {COST: seconds, "epoch": epoch.number}
            began = time.monotonic()

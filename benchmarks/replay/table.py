"""Tables of learning curves in the layout of Syne Tune's blackboxes, read without Syne Tune."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from replay.space import Grid


@dataclass(frozen=True)
class Curves:
    """What each point of a table came to with one seed; more is better."""

    values: np.ndarray
    """[point, epoch]"""
    ends: np.ndarray
    """[point, epoch] Seconds from a training's start to an epoch's end, its validation included."""
    epochs: np.ndarray
    """[epoch] The number of each recorded epoch; they may have gaps."""

    @property
    def bests(self) -> np.ndarray:
        """[point] The value at the best epoch."""
        return self.values.max(axis=1)

    @property
    def epoch_seconds(self) -> float:
        """What an epoch takes on the average."""
        return float(self.ends[:, -1].mean() / self.epochs[-1])

    def seconds(self, start: float) -> float:
        """Return what training each point once would take, with `start` seconds before each."""
        return float((self.ends[:, -1] + start).sum())

    def top(self, share: float) -> float:
        """Return the value that this share of the points reach, or one point at least."""
        count = max(1, int(share * len(self.values)))
        return float(np.sort(self.bests)[-count])


@dataclass(frozen=True)
class Table:
    """A table: its points, and their curves by seed."""

    name: str
    grid: Grid
    seeds: tuple[Curves, ...]

    def curves(self, seed: int) -> Curves:
        """Return the curves that the replay with this seed sees: of one training a point."""
        return self.seeds[seed % len(self.seeds)]


def tasks(folder: Path) -> list[str]:
    """Return the names of the tasks in a folder; each is a table."""
    return list(_about(folder).get("task_names", [folder.name]))


@lru_cache(maxsize=8)
def load(folder: Path, task: str, objective: str = "") -> Table:
    """Read a table.

    Args:
        folder: Where its files lie.
        task: One of `tasks`.
        objective: What a policy is to maximise, or minimise where the metadata's `metric_mode` is
            min; without that, an error or a loss is minimised. The metadata's or the first if
            empty. Where the metadata names no `elapsed_time_attr`, an epoch takes a second.
    """
    about = _about(folder)
    names: list[str] = about["objectives_names"]
    objective = objective or about.get("objective", names[0])
    recorded = np.load(folder / "objectives_evaluations.npy")[tasks(folder).index(task)]
    recorded = _without_gaps(recorded.astype(float))  # [point, seed, epoch, objective]
    values = _sign(about, objective) * recorded[..., names.index(objective)]
    epochs = _epochs(folder)
    clock = about.get("elapsed_time_attr")
    ends = np.broadcast_to(epochs.astype(float), values.shape)
    if clock in names:
        ends = np.maximum.accumulate(recorded[..., names.index(clock)], axis=-1)
    known = np.isfinite(values).all(axis=(1, 2)) & np.isfinite(ends).all(axis=(1, 2))  # [point]
    columns = pq.read_table(folder / "hyperparameters.parquet").to_pydict()
    grid = Grid({k: [v for v, ok in zip(c, known, strict=True) if ok] for k, c in columns.items()})
    seeds = tuple(
        Curves(values[known, seed], ends[known, seed], epochs) for seed in range(values.shape[1])
    )
    return Table(folder.name if len(tasks(folder)) == 1 else f"{folder.name}/{task}", grid, seeds)


def _about(folder: Path) -> Mapping[str, Any]:
    about: Mapping[str, Any] = json.loads((folder / "metadata.json").read_text())
    return about


def _epochs(folder: Path) -> np.ndarray:
    """Return the number of each epoch; their order where fidelities are no whole numbers."""
    found = np.load(folder / "fidelities_values.npy")
    whole = np.equal(np.mod(found, 1), 0).all() and found.min() >= 1
    return found.astype(int) if whole else np.arange(1, len(found) + 1)


def _sign(about: Mapping[str, Any], objective: str) -> int:
    """Return 1 if the objective is maximised, else -1."""
    mode = about.get("metric_mode")
    if isinstance(mode, list):
        mode = mode[list(about["objectives_names"]).index(objective)]
    if mode is None:
        mode = "min" if any(word in objective for word in ("error", "loss")) else "max"
    return 1 if mode == "max" else -1


def _without_gaps(recorded: np.ndarray) -> np.ndarray:
    """Return each curve with what is missing filled by what came before, as if it had stood."""
    for epoch in range(1, recorded.shape[2]):
        now, before = recorded[:, :, epoch], recorded[:, :, epoch - 1]
        recorded[:, :, epoch] = np.where(np.isfinite(now), now, before)
    return recorded

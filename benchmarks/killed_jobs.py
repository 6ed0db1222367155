"""Jobs that are killed at random times, and what must come of each (`kills.py`)."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil
from invariants import broken, outcome_of, trials_of
from optuna.exceptions import StorageInternalError

ROOT = Path(__file__).parents[1]
TRIALS = 5
SPACE = """
def space(trial):
    trial.suggest_float("optim.lr", 1e-3, 1e-2, log=True)
    trial.suggest_categorical("model.fusion", ["add", "concat"])
    return {"optim.epochs": 4, "model.sit": "none", "model.width": 16, "model.scale": 2.0}
"""
Process = subprocess.Popen[bytes]
Victims = Mapping[str, Callable[[Process], int]]
"""Kills of a job by their names; each returns how many processes it killed."""


def driver(job: Process) -> int:
    """Kill the job itself."""
    return _kill(job.pid)


def below(words: str, chance: Callable[[list[int]], int]) -> Callable[[Process], int]:
    """Return a kill of one of the processes that a job started, by a part of its command line."""

    def kill(job: Process) -> int:
        found = []
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(job.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    found += [child.pid] * (words in " ".join(child.cmdline()))
        return _kill(chance(found)) if found else 0

    return kill


def _kill(pid: int) -> int:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return 1
    return 0


class Killed(Protocol):
    """A job that is killed and started again until it is over."""

    victims: Victims
    pace: float
    """Longest time between two kills, as a share of what it takes undisturbed."""
    statuses: tuple[int, ...]
    """Exit statuses that a kill may lead to; the same command is given again."""

    def command(self, name: str) -> list[str]:
        """Return the command, the same at each start."""
        ...

    def outcome(self, name: str) -> object:
        """Return what must not depend on kills, once it is over."""
        ...

    def acknowledged(self, name: str) -> dict[Any, object]:
        """Return what must not change any more; it may be read between starts."""
        ...

    def broken(self, name: str) -> list[str]:
        """Return the invariants that are broken, once it is over."""
        ...


@dataclass
class Search:
    """A search on the demo, one trial at a time.

    So the order in which its trials end does not depend on the machine.
    """

    folder: Path
    victims: Victims
    tracking_uri: str
    more: tuple[str, ...] = ()
    storage: Callable[[str], str] = lambda _: ""
    """Returns the database of a study."""
    pace: float = 0.5
    statuses: tuple[int, ...] = (-signal.SIGKILL, 1, 2)

    def command(self, name: str) -> list[str]:
        """Return the command of the study `name`."""
        url = self.storage(name)
        return [
            *(sys.executable, str(ROOT / "jobs" / "tune.py"), "--dataset", "demo"),
            *("--space", "small.py", "--study", name, "--results", "results", "--no-figures"),
            *("--budget.trials", str(TRIALS), "--budget.at-once", "1", "--budget.model-mb", "0"),
            *("--policy.sampler", "random", "--policy.pruner", "none", "--json", f"{name}.json"),
            *("--tracking-uri", self.tracking_uri, "--failures", "100", *self.more),
            *(("--storage", url) if url else ()),
        ]

    def outcome(self, name: str) -> object:
        """Return the trials as `--json` has them, without times."""
        names = ("number", "state", "epochs", "value", "params")
        trials = outcome_of(self.folder / f"{name}.json")["trials"]
        return [tuple(trial[each] for each in names) for trial in trials]

    def acknowledged(self, name: str) -> dict[Any, object]:
        """Return the times and values of finished trials."""
        study = self._study(name)
        if not (self.storage(name) or (study / "record.db").is_file()):
            return {}
        try:
            found = trials_of(study, self.storage(name))
        except (KeyError, StorageInternalError):  # not made yet
            return {}
        return {
            trial.number: (trial.datetime_start, trial.datetime_complete, trial.value)
            for trial in found
            if trial.state.is_finished()
        }

    def broken(self, name: str) -> list[str]:
        """Return the broken invariants of the study."""
        plain = outcome_of(self.folder / f"{name}.json")
        return broken(self._study(name), plain, self.tracking_uri, self.storage(name))

    def _study(self, name: str) -> Path:
        return self.folder / "results" / "studies" / name


@dataclass
class Prepare:
    """An extraction of the demo's features."""

    folder: Path
    victims: Victims
    pace: float = 1.2
    """Most of it is to start: killed sooner, it would never have its first shard."""
    statuses: tuple[int, ...] = (-signal.SIGKILL,)

    def command(self, name: str) -> list[str]:
        """Return the command that makes the features in the results folder `name`."""
        job = str(ROOT / "jobs" / "prepare.py")
        return [sys.executable, job, "--dataset", "demo", "--results", name]

    def outcome(self, name: str) -> object:
        """Return the features' bytes."""
        stores = (self.folder / name / "features").glob("demo-*/level-*.arrow")
        return {store.name: store.read_bytes() for store in stores}

    def acknowledged(self, name: str) -> dict[Any, object]:
        """Return nothing: a shard of a killed extraction may be made again."""
        del name
        return {}

    def broken(self, name: str) -> list[str]:
        """Return what is left beside the store."""
        found = (self.folder / name / "features").glob(".demo-*")
        return [f"{each}: left over" for each in found]


@dataclass
class Finalize:
    """Confirmation, refit and sealed test of a search's best trial."""

    folder: Path
    victims: Victims
    searched: Path
    """Results with the study `calm`."""
    pace: float = 0.5
    statuses: tuple[int, ...] = (-signal.SIGKILL, 1, 2)
    names: list[str] = field(default_factory=list)

    def command(self, name: str) -> list[str]:
        """Return the command that finalizes in a copy of the results, `name`."""
        results = self.folder / name
        if name not in self.names:
            self.names.append(name)
            shutil.copytree(self.searched, results)
        return [
            *(sys.executable, str(ROOT / "jobs" / "finalize.py"), "--study", "calm"),
            *("--results", name, "--tracking-uri", f"sqlite:///{self.folder}/{name}.db"),
            *("--confirm.candidates", "1", "--confirm.blocks", "2", "--refit.seeds", "2"),
        ]

    def outcome(self, name: str) -> object:
        """Return the figures of confirmation and test."""
        found = self._result(name)
        (winner,) = found["confirm"]["candidates"]
        return winner["blocks"], found["test"]

    def acknowledged(self, name: str) -> dict[Any, object]:
        """Return the entries of the ledger: the openings of the test split."""
        ledger = self.folder / name / "sealed" / "ledger.jsonl"
        lines = ledger.read_text().splitlines() if ledger.is_file() else []
        return dict(enumerate(lines))

    def broken(self, name: str) -> list[str]:
        """Return whether the test split was opened more than once."""
        times = len(self.acknowledged(name))
        return [] if times == 1 else [f"the test split was opened {times} times"]

    def _result(self, name: str) -> dict[str, Any]:
        path = self.folder / name / "studies" / "calm" / "final" / "result.json"
        found: dict[str, Any] = json.loads(path.read_text())
        return found

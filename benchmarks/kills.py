"""Random kills: searches on the demo whose processes are killed at random times until they end.

A search is started and, after a random time, one of its processes is killed (driver, trial, raylet,
GCS, shipper); a job that ended is started again by the same command, until it says that the study
is over. Then the study must hold what an undisturbed one holds, bit for bit, each trial that was
recorded as finished must have kept its times, and MLflow must have one run for each trial. Trials
run one at a time, so that the order in which they end does not depend on the machine.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import psutil
from bars import Bar, finish, flags
from mlflow import MlflowClient

ROOT = Path(__file__).parents[1]
TRIALS = 5
VICTIMS = {
    "driver": "jobs/tune.py",
    "trial": "Trainable",
    "raylet": "raylet/raylet",
    "gcs": "gcs_server",
    "shipper": "drmn.tracking ship",
}
"""Processes of a search, by a part of their command lines."""
SPACE = """
def space(trial):
    trial.suggest_float("optim.lr", 1e-3, 1e-2, log=True)
    trial.suggest_categorical("model.fusion", ["add", "concat"])
    return {"optim.epochs": 4, "model.sit": "none", "model.width": 16, "model.scale": 2.0}
"""
MOST_STARTS = 40
"""Starts of a study after which it is said to hang."""
TIMEOUT_S = 900.0
"""Seconds after which a start is said to hang."""


@dataclass
class Campaign:
    """Kills and what came of them."""

    folder: Path
    chance: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)

    def command(self, study: str) -> list[str]:
        """Return the command of a study."""
        return [
            *(sys.executable, str(ROOT / VICTIMS["driver"]), "--dataset", "demo"),
            *("--space", "small.py", "--study", study, "--results", "results", "--no-figures"),
            *("--budget.trials", str(TRIALS), "--budget.at-once", "1", "--budget.model-mb", "0"),
            *("--policy.sampler", "random", "--policy.pruner", "none", "--json", f"{study}.json"),
            *("--tracking-uri", f"sqlite:///{self.folder}/mlflow.db", "--failures", "100"),
        ]

    def start(self, study: str) -> subprocess.Popen[bytes]:
        """Start a study, or resume it."""
        log = (self.folder / f"{study}.log").open("ab")
        return subprocess.Popen(self.command(study), cwd=self.folder, stdout=log, stderr=log)

    def finished(self, study: str) -> dict[int, tuple[object, ...]]:
        """Return what must not change any more: the times and values of finished trials."""
        return {
            trial.number: (trial.datetime_start, trial.datetime_complete, trial.value)
            for trial in self.trials(study)
            if trial.state.is_finished()
        }

    def trials(self, study: str) -> list[optuna.trial.FrozenTrial]:
        """Return the trials of a study's record."""
        path = self.folder / "results" / "studies" / study / "record.db"
        with suppress(KeyError, optuna.exceptions.StorageInternalError):  # not made yet
            if path.is_file():
                name = f"sqlite:///{path}"
                return optuna.load_study(study_name=study, storage=name).get_trials(deepcopy=False)
        return []

    def outcome(self, study: str) -> list[tuple[object, ...]]:
        """Return what must not depend on kills."""
        plain: dict[str, Any] = json.loads((self.folder / f"{study}.json").read_text())
        names = ("number", "state", "epochs", "value", "params")
        return [tuple(trial[name] for name in names) for trial in plain["trials"]]

    def disturb(self, study: str, longest: float) -> None:
        """Run a study to its end, killing a process of it at random times."""
        known: dict[int, tuple[object, ...]] = {}
        for _ in range(MOST_STARTS):
            job = self.start(study)
            until = time.monotonic() + TIMEOUT_S
            while not _ends_within(job, self.chance.uniform(1.0, longest)):
                if time.monotonic() > until:
                    self.faults["hung"] += 1
                    job.kill()
                else:
                    self._kill(job)
            self.statuses[job.returncode] += 1
            now = self.finished(study)
            self.faults["changed"] += sum(now.get(key) != value for key, value in known.items())
            known = now
            if job.returncode == 0:
                return
        self.faults["hung"] += 1

    def _kill(self, job: subprocess.Popen[bytes]) -> None:
        """Kill one of the processes of a job."""
        name = self.chance.choice(sorted(VICTIMS))
        found = [job.pid] if name == "driver" else _below(job.pid, VICTIMS[name])
        if found:
            with suppress(ProcessLookupError):
                os.kill(self.chance.choice(found), signal.SIGKILL)
                self.kills[name] += 1

    def check(self, study: str, expected: list[tuple[object, ...]]) -> None:
        """Count what differs from an undisturbed study, in the record and in MLflow."""
        self.faults["other outcome"] += self.outcome(study) != expected
        client = MlflowClient(f"sqlite:///{self.folder}/mlflow.db")
        experiment = client.get_experiment_by_name("demo")
        runs = client.search_runs(
            [experiment.experiment_id], f"tags.kind = 'trial' and tags.study = '{study}'"
        )
        names = Counter(run.data.tags["drmn.run"] for run in runs)
        states = {run.data.tags["state"] for run in runs}
        whole = len(names) == TRIALS and set(names.values()) == {1} and "RUNNING" not in states
        self.faults["MLflow differs"] += not whole


def _ends_within(job: subprocess.Popen[bytes], seconds: float) -> bool:
    with suppress(subprocess.TimeoutExpired):
        job.wait(seconds)
        return True
    return False


def _below(pid: int, words: str) -> list[int]:
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found += [child.pid] * (words in " ".join(child.cmdline()))
    return found


def main() -> None:
    """Kill until there have been enough kills."""
    parser = flags(__doc__ or "")
    parser.add_argument("--kills", type=int, default=200, help="at least so many kills")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    least = 8 if asked.quick else asked.kills
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        campaign = Campaign(Path(folder), random.Random(asked.seed))  # noqa: S311
        (campaign.folder / "small.py").write_text(SPACE)
        for study in ("features", "calm"):  # the first one makes what the others find
            began = time.monotonic()
            if campaign.start(study).wait() != 0:
                sys.exit(f"{campaign.folder}/{study}.log: the search failed undisturbed.")
        longest, expected, studies = time.monotonic() - began, campaign.outcome("calm"), 0
        while sum(campaign.kills.values()) < least:
            studies += 1
            campaign.disturb(f"s{studies}", longest / 2)
            campaign.check(f"s{studies}", expected)
            print(f"{studies} studies, {sum(campaign.kills.values())} kills", flush=True)
    figures = {
        "studies": studies,
        "kills": dict(campaign.kills),
        "exit statuses": {str(key): times for key, times in campaign.statuses.items()},
    }
    kinds = ("other outcome", "changed", "MLflow differs", "hung")
    bars = [Bar(f"studies or trials: {k}", campaign.faults[k], 0, least=False) for k in kinds]
    finish(figures, bars, asked.json)


if __name__ == "__main__":
    main()

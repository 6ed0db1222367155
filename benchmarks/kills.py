"""Random kills: jobs on the demo whose processes are killed at random times until they end.

A search (in one process a trial or in worker groups; its record in SQLite or PostgreSQL; MLflow a
file or a server), an extraction or a finalize is started, and after random times one of its
processes is killed: driver, trial, raylet, GCS, shipper, MLflow's server, PostgreSQL's. A job that
ended is started again by the same command, until it is over. Then it must have come to what an
undisturbed one comes to, bit for bit; nothing that was recorded as finished may have changed; and
the invariants of `tests/invariants.py` must hold: record, checkpoints, MLflow and winner agree, and
nothing is left. A start that ends otherwise must have said why in a sentence.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
import psutil
from bars import Bar, finish, flags

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from killed_jobs import (  # noqa: E402 - it imports from tests
    SPACE,
    Finalize,
    Killed,
    Prepare,
    Process,
    Search,
    Victims,
    below,
    driver,
)
from killed_servers import kill_postgres, mlflow_server  # noqa: E402
from servers import postgres_server  # noqa: E402

MOST_STARTS = 60
"""Starts of a job after which it is said to hang."""
TIMEOUT_S = 900.0
"""Seconds after which a start is said to hang."""
MARK = "DRMN_KILLS"
"""Variable of the environment by which processes of this campaign are known."""
LEFT_S = 60.0
"""Seconds that Ray's processes have to end after their job."""


@dataclass
class Campaign:
    """Kills and what came of them."""

    folder: Path
    chance: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    disturbed: int = 0
    """Jobs that were killed, finished or not: each has a name."""
    ended: Counter[str] = field(default_factory=Counter)
    expected: dict[str, object] = field(default_factory=dict)
    longest: dict[str, float] = field(default_factory=dict)

    def start(self, job: Killed, name: str) -> Process:
        """Start a job, or resume it."""
        said = self._said(name).open("ab"), self.errors(name).open("wb")
        environment = os.environ | {MARK: str(self.folder)}
        return subprocess.Popen(
            job.command(name), cwd=self.folder, stdout=said[0], stderr=said[1], env=environment
        )

    def _said(self, name: str) -> Path:
        return self.folder / f"{name}.out"

    def errors(self, name: str) -> Path:
        """Return the file of what the last start of a job printed as errors."""
        return self.folder / f"{name}.err"

    def undisturbed(self, kind: str, job: Killed, name: str) -> None:
        """Run a job without kills: what the others of its kind must come to."""
        began = time.monotonic()
        if self.start(job, name).wait() != 0:
            sys.exit(f"{name} failed undisturbed: {self.errors(name).read_text()[-2000:]}")
        self.longest[kind] = time.monotonic() - began
        self.expected[kind] = job.outcome(name)
        self._fault("broken invariants", job.broken(name), name)

    def disturb(self, kind: str, job: Killed, name: str) -> None:
        """Run a job to its end, killing a process of it at random times, and check it."""
        known: dict[object, object] = {}
        for _ in range(MOST_STARTS):
            started = self.start(job, name)
            until = time.monotonic() + TIMEOUT_S
            longest = max(2.0, job.pace * self.longest[kind])
            while not _ends_within(started, self.chance.uniform(1.0, longest)):
                if time.monotonic() > until:
                    self._fault("hung", ["a start took too long"], name)
                    started.kill()
                else:
                    self._kill(job, started)
            self.statuses[started.returncode] += 1
            now = job.acknowledged(name)
            changed = [str(key) for key, value in known.items() if now.get(key) != value]
            self._fault("changed", changed, name)
            known = {**now}
            if started.returncode == 0:
                self._check(kind, job, name)
                return
            self._check_end(job, name, started.returncode)
        self._fault("hung", [f"not over after {MOST_STARTS} starts"], name)

    def _kill(self, job: Killed, started: Process) -> None:
        """Kill what was killed least often of what runs: a trial's process runs but seconds."""
        victims = sorted(job.victims)
        self.chance.shuffle(victims)
        for victim in sorted(victims, key=lambda name: self.kills[name]):
            if killed := job.victims[victim](started):
                self.kills[victim] += killed
                return

    def _check(self, kind: str, job: Killed, name: str) -> None:
        self.ended[kind] += 1
        if job.outcome(name) != self.expected[kind]:
            self._fault("another outcome", [str(job.outcome(name))[:2000]], name)
        self._fault("broken invariants", job.broken(name), name)

    def _check_end(self, job: Killed, name: str, status: int) -> None:
        """Count a start that was not killed and says neither why it ended nor that it resumes."""
        errors = self.errors(name).read_text(errors="replace")
        last = (errors.strip().splitlines() or [""])[-1]
        said = status == -signal.SIGKILL or last.startswith(("error: ", "note: "))
        if status not in job.statuses or not said or "Traceback" in errors:
            self._fault("ended without a sentence", [f"{status}: {errors[-2000:]}"], name)

    def _fault(self, kind: str, lines: list[str], name: str) -> None:
        self.faults[kind] += len(lines)
        for line in lines:
            print(f"{name}: {kind}: {line}", flush=True)

    def look_for_processes(self) -> None:
        """Count processes of this campaign that outlive its jobs."""
        until = time.monotonic() + LEFT_S
        while (left := _marked(self.folder)) and time.monotonic() < until:
            time.sleep(1.0)
        lines = [" ".join(process.cmdline())[:200] for process in left]
        self._fault("processes left", lines, "campaign")


def _marked(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            found += [process] * (process.environ().get(MARK) == str(folder))
    return found


def _ends_within(job: Process, seconds: float) -> bool:
    with suppress(subprocess.TimeoutExpired):
        job.wait(seconds)
        return True
    return False


def jobs_of(campaign: Campaign, stack: ExitStack) -> dict[str, Killed]:
    """Return the jobs that are killed, by their kinds."""
    folder, choice = campaign.folder, campaign.chance.choice
    ray: Victims = {
        name: below(words, choice)
        for name, words in (
            *(("raylet", "raylet/raylet"), ("gcs", "gcs_server")),
            ("shipper", "drmn.tracking ship"),
        )
    }
    alone: Victims = {"driver": driver, "trial": below("Trainable", choice), **ray}
    groups: Victims = {**alone, "trial": below("RayTrainWorker", choice)}
    file, pool = f"sqlite:///{folder}/mlflow.db", ("--backend", "pool")
    uri, kill_mlflow = stack.enter_context(mlflow_server(folder))
    server = stack.enter_context(postgres_server())
    databases: dict[str, str] = {}

    def database(name: str) -> str:
        return databases.get(name) or databases.setdefault(name, server.database())

    postgres: Victims = {**alone, "PostgreSQL": partial(kill_postgres, server)}
    return {
        "search": Search(folder, alone, file),
        "search in groups, MLflow's server": Search(
            folder, {**groups, "MLflow": kill_mlflow}, uri, pool
        ),
        "search in PostgreSQL": Search(folder, postgres, file, storage=database),
        "prepare": Prepare(folder, {"prepare": driver}),
        "finalize": Finalize(folder, {**ray, "finalize": driver}, folder / "results"),
    }


def main() -> None:
    """Kill until there have been enough kills."""
    parser = flags(__doc__ or "")
    parser.add_argument("--kills", type=int, default=200, help="at least so many kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=240.0, help="no new job after so many")
    asked = parser.parse_args()
    least = 8 if asked.quick else asked.kills
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        campaign = Campaign(Path(folder), random.Random(asked.seed))  # noqa: S311
        (campaign.folder / "small.py").write_text(SPACE)
        jobs = jobs_of(campaign, stack)
        run(campaign, jobs, least, asked.minutes)
        campaign.look_for_processes()
    figures = {
        "jobs": dict(campaign.ended),
        "kills": dict(campaign.kills),
        "exit statuses": {str(key): times for key, times in campaign.statuses.items()},
    }
    kinds = ("another outcome", "changed", "broken invariants", "ended without a sentence", "hung")
    bars = [Bar(k, campaign.faults[k], 0, least=False) for k in (*kinds, "processes left")]
    bars.append(Bar("kills", campaign.kills.total(), least))
    finish(figures, bars, asked.json)


def run(campaign: Campaign, jobs: dict[str, Killed], least: int, minutes: float) -> None:
    """Run each kind undisturbed, then each in turn until so many kills, or minutes."""
    campaign.start(jobs["search"], "first").wait()  # makes the features that the others find
    for kind, job in jobs.items():
        campaign.undisturbed(kind, job, "calm" if kind == "search" else f"calm-{len(kind)}")
    until = time.monotonic() + 60 * minutes
    while True:
        for kind, job in jobs.items():
            if campaign.kills.total() >= least or time.monotonic() > until:
                return
            name = f"s{campaign.disturbed}"
            campaign.disturbed += 1
            campaign.disturb(kind, job, name)
            print(f"{kind}: {campaign.kills.total()} kills so far", flush=True)


if __name__ == "__main__":
    main()

"""Starting costs in CPU seconds: user and system, of a command and all that it starts.

The same search command on a finished study; the driver and the shipper of a search from the command
to the first epoch on prepared features; a packed network from MLflow with its first photo; and the
cheap looks. `--checkout FOLDER` measures another checkout of ours, such as the commit before.
"""

import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
from bars import Bar, finish, flags

ROOT = Path(__file__).parents[1]
SMOKE = "tests/spaces/smoke.py"
ANSWER = """
import os, sys, mlflow
from pathlib import Path
mlflow.set_tracking_uri(sys.argv[1])
import pandas as pd
model = mlflow.pyfunc.load_model("models:/drmn-demo@champion")
photo = next(Path(sys.argv[2]).rglob("*.jpg")).read_bytes()
model.predict(pd.DataFrame({"image": [photo]}))
print(sum(os.times()[:4]))
"""
"""Prints the CPU seconds until the answer."""
LOOKS = {
    "--help": ("tune", "--help"),
    "--list": ("tune", "--list"),
    "--status": ("tune", "--status", "--study", "smoke"),
    "--replay": ("tune", "--replay", "--study", "smoke", "--space", str(ROOT / SMOKE)),
    "prepare --list": ("prepare", "--list"),
    "a mistyped option": ("tune", "--datset", "demo"),
}
"""Cheap looks: the job, and its options. `--stop` is a look at a study and a signal."""
LIMIT_S = 300.0
"""Seconds until the first epoch at most."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A checkout and a folder with the demo's features and a finished study on them."""

    checkout: Path
    folder: Path

    def command(self, *more: str) -> list[str]:
        """Return the command of a search."""
        space = ROOT / SMOKE
        job = [sys.executable, str(self.checkout / "jobs" / "tune.py"), "--space", str(space)]
        return [*job, "--results", str(self.folder / "results"), *more]

    def look(self, job: str, *options: str) -> list[str]:
        """Return the command of a look at what is there."""
        place = ["--results", str(self.folder / "results")]
        return [sys.executable, str(self.checkout / "jobs" / f"{job}.py"), *options, *place]

    def finished(self) -> list[str]:
        """Return the command of the study that is finished."""
        return self.command("--dataset", "demo", "--budget.trials", "2")

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which this checkout is imported."""
        return os.environ | {"PYTHONPATH": str(self.checkout)}

    @property
    def store(self) -> str:
        """Return MLflow's store."""
        return f"sqlite:///{self.folder}/mlflow.db"


def cpu(bench: Bench, command: list[str], status: int = 0) -> float:
    """Return the CPU seconds of a command and of all processes that it waits for.

    Args:
        bench: The checkout and folder.
        command: The command.
        status: The exit status that it must have.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(bench, command, status)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(bench: Bench, command: list[str], status: int = 0) -> str:
    """Run a command; return what it prints."""
    done = subprocess.run(
        command,
        cwd=bench.folder,
        env=bench.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != status:
        sys.exit(f"{command}: {done.stderr[-2000:]}")
    return done.stdout


def first_epoch(bench: Bench) -> tuple[float, float]:
    """Return the CPU seconds of driver and shipper until the record holds an epoch."""
    study = bench.folder / "results" / "studies" / "fresh"
    shutil.rmtree(study, ignore_errors=True)
    command = bench.command(
        *("--dataset", "demo", "--study", "fresh", "--budget.trials", "1", "--no-figures")
    )
    with (bench.folder / "log").open("wb") as log:
        driver = psutil.Popen(
            command, cwd=bench.folder, env=bench.environment, stdout=log, stderr=log
        )
        used, until = (0.0, 0.0), time.monotonic() + LIMIT_S
        while not _has_epoch(study / "record.db"):
            if driver.poll() is not None or time.monotonic() > until:
                sys.exit(f"no epoch: {(bench.folder / 'log').read_text()[-2000:]}")
            used = _spent(driver)
            time.sleep(0.05)
        driver.wait()
    return used


def _has_epoch(record: Path) -> bool:
    if not record.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"file:{record}?mode=ro", uri=True, timeout=5)) as opened:
            query = "SELECT 1 FROM trial_intermediate_values LIMIT 1"
            return opened.execute(query).fetchone() is not None
    except sqlite3.OperationalError:  # its tables are being made
        return False


def _spent(driver: psutil.Popen) -> tuple[float, float]:
    shipper = 0.0
    for child in driver.children():
        try:
            if "drmn.tracking" in child.cmdline():
                shipper = _own(child)
        except psutil.NoSuchProcess:
            continue
    return _own(driver), shipper


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measures(bench: Bench) -> Mapping[str, Callable[[], float]]:
    """Return what measures each figure, by name."""
    answer = [sys.executable, "-c", ANSWER, bench.store, str(bench.folder / "results" / "demo")]
    found: dict[str, Callable[[], float]] = {
        "same command again": lambda: cpu(bench, bench.finished()),
        "first photo": lambda: float(run(bench, answer)),
    }
    for name, look in LOOKS.items():
        wrong = name == "a mistyped option"
        found[name] = lambda look=look, wrong=wrong: cpu(  # type: ignore[misc]
            bench, bench.look(*look), status=2 if wrong else 0
        )
    return found


def main() -> None:
    """Measure, print and judge."""
    parser = flags(__doc__ or "")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="by default this one")
    given = parser.parse_args()
    rounds = 1 if given.quick else 3
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(given.checkout.absolute(), Path(name))
        first = cpu(bench, bench.finished())
        every = measures(bench)
        found: dict[str, list[float]] = {name: [] for name in every}
        epochs: list[tuple[float, float]] = []
        for _ in range(rounds):
            for figure, measure in every.items():
                found[figure].append(measure())
            epochs.append(first_epoch(bench))
    medians = {figure: statistics.median(values) for figure, values in found.items()}
    driver, shipper = (statistics.median(column) for column in zip(*epochs, strict=True))
    figures = {f"CPU-s, {figure}": round(value, 2) for figure, value in medians.items()}
    figures |= {
        "CPU-s, the finished study, its features made too": round(first, 1),
        "CPU-s, driver to the first epoch": round(driver, 2),
        "CPU-s, shipper to the first epoch": round(shipper, 2),
    }
    bars = [
        Bar(
            "same command on a finished study, CPU-s", medians["same command again"], 4, least=False
        ),
        Bar("driver and shipper to the first epoch, CPU-s", driver + shipper, 12, least=False),
        Bar("a packed network's first photo, CPU-s", medians["first photo"], 5, least=False),
        *(Bar(f"{look}, CPU-s", medians[look], 0.7, least=False) for look in LOOKS),
    ]
    finish(figures, bars, given.json)


if __name__ == "__main__":
    main()

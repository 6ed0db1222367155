"""Waiting threads that soon sleep, and ones that spin: the demo's baselines, busy and quiet.

A job lets them sleep after some microseconds (`GOMP_SPINCOUNT`, drmn/cli.py); by default it is
milliseconds. Busy means two processes a core that compute without end. Runs take turns; medians
count.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import product
from pathlib import Path

from bars import Bar, arguments, finish

from drmn.cli import SPIN

ROOT = Path(__file__).parents[1]
RUNS = 3
BASELINES = """
import sys, time
from pathlib import Path
from drmn.data.splits.development import open_store
from drmn.evaluation.baselines import fit_baselines
(store,) = Path(sys.argv[1]).glob("features/demo-*")
data, began = open_store(store), time.perf_counter()
fit_baselines(data)
print(time.perf_counter() - began)
"""


def fitted(results: Path, *, sleep: bool) -> float:
    """Return the seconds that the baselines take in a process whose waiting threads sleep."""
    command = [sys.executable, "-c", BASELINES, str(results)]
    env = {name: value for name, value in os.environ.items() if name not in SPIN}
    env |= SPIN if sleep else {}
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return float(done.stdout)


def compute() -> None:
    """Keep a core busy."""
    while True:
        pass


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep each core busy twice for a `with` block."""
    processes = [multiprocessing.Process(target=compute) for _ in range(2 * (os.cpu_count() or 1))]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def main() -> None:
    """Fit the baselines each way, print the seconds and compare."""
    asked = arguments(__doc__ or "")
    seconds: dict[tuple[str, bool], list[float]]
    seconds = {each: [] for each in product(("busy", "quiet"), (True, False))}
    with tempfile.TemporaryDirectory() as folder:
        prepare = [sys.executable, str(ROOT / "jobs" / "prepare.py"), "--dataset", "demo"]
        subprocess.run([*prepare, "--results", folder], check=True, capture_output=True)
        for _ in range(1 if asked.quick else RUNS):
            for (machine, sleep), found in seconds.items():
                with busy_cores() if machine == "busy" else nullcontext():
                    found.append(fitted(Path(folder), sleep=sleep))
    middle = {each: statistics.median(found) for each, found in seconds.items()}
    bars = [
        Bar(
            f"{machine}: asleep over spinning, times",
            middle[machine, True] / middle[machine, False],
            bar,
            least=False,
        )
        for machine, bar in (("busy", 0.5), ("quiet", 1.5))
    ]
    figures = {
        f"{machine}, {'asleep' if sleep else 'spinning'}, seconds": f"{value:.1f}"
        for (machine, sleep), value in middle.items()
    }
    finish({"cores": os.cpu_count(), **figures}, bars, asked.json)


if __name__ == "__main__":
    main()

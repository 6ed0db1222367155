"""What logging to MLflow costs a search, and how fast it arrives there.

For each way of logging: calls of MLflow and CPU seconds for an epoch of 30 metrics, in the process
that logs, where a search or training would wait. Ours also in the shipper's process, beside. Then
the spool alone; 100,000 metrics logged again to an empty database; and the query that MLflow's page
of runs makes of a study of 2,000 trials, asked of a server.
"""

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import mlflow
from bars import Bar, arguments, finish
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from quality import SETTINGS, store_of
from ray.air.integrations.mlflow import MLflowLoggerCallback

from drmn.config import RunConfig
from drmn.data.splits import development
from drmn.fields import with_overrides
from drmn.tracking import events
from drmn.tracking.server import Server
from drmn.tracking.shipper import ship
from drmn.tracking.spool import Spool
from drmn.training.loop import fit

METRICS = {f"val/metric{n:02d}": n / 30 for n in range(30)}
CALLS = ("log_metric", "log_batch")
BEGUN = 1_790_000_000.0
TRIALS, EPOCHS = 2000, 5
REPLAYED = 10
"""Metrics of each of these epochs: 100,000 in all."""


@dataclass(slots=True)
class Told:
    """What a way of logging took for an epoch."""

    calls: float
    cpu: float
    seconds: float


@dataclass
class FakeTrial:
    """As much of Ray's trial as its callback looks at."""

    config: dict[str, Any] = field(default_factory=lambda: {"lr": 0.1})
    trial_id: str = "t"

    def __hash__(self) -> int:
        return 1


def cpu(who: int = resource.RUSAGE_SELF) -> float:
    """Return the CPU seconds of this process, or of its children that are over."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def measured(tell: Callable[[int], object], epochs: int) -> Told:
    """Return what logging each of so many epochs takes, once warm; calls reach MLflow's store."""
    tell(0)
    count = [0]

    def counted(name: str) -> Callable[..., Any]:
        real = getattr(SqlAlchemyStore, name)

        def call(*given: Any, **named: Any) -> Any:
            count[0] += 1
            return real(*given, **named)

        return call

    with contextlib.ExitStack() as patches:
        for name in CALLS:
            patches.enter_context(mock.patch.object(SqlAlchemyStore, name, counted(name)))
        before, began = cpu(), time.monotonic()
        for epoch in range(1, epochs + 1):
            tell(epoch)
        return Told(
            count[0] / epochs, (cpu() - before) / epochs, (time.monotonic() - began) / epochs
        )


def ways(folder: Path, epochs: int) -> dict[str, Told]:
    """Return what each way of logging takes."""
    spool = Spool(folder / "ways.db")
    ours = measured(lambda e: spool.put(*events.metrics("s/0", METRICS, e, BEGUN + e)), epochs)

    uri = f"sqlite:///{folder}/plain.db"
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("plain")
    with mlflow.start_run():
        plain = measured(
            lambda e: [mlflow.log_metric(k, v, step=e) for k, v in METRICS.items()], epochs
        )
    callback = MLflowLoggerCallback(tracking_uri=uri, experiment_name="callback")
    callback.setup()
    trial = FakeTrial()
    callback.log_trial_start(trial)
    rays = measured(
        lambda e: callback.log_trial_result(e, trial, METRICS | {"training_iteration": e}), epochs
    )
    return {"ours": ours, "mlflow.log_metric": plain, "Ray's MLflowLoggerCallback": rays}


def study(spool: Spool, trials: int, epochs: int, width: int) -> None:
    """Log a whole study."""
    names = list(METRICS)[:width]
    with spool.together():
        parent = ("s", "study", "toy", {"policy": "tpe"}, {"kind": "study"})
        spool.put(*events.study(*parent, at=BEGUN))
        for n in range(trials):
            run = f"s/{n:04d}"
            about = ("s", run, f"study/{n:04d}", {"optim.lr": n / trials}, {"kind": "trial"})
            spool.put(*events.child(*about, at=BEGUN + n))
            for epoch in range(1, epochs + 1):
                values = dict.fromkeys(names, n * 7919 % trials / trials + epoch / 100)
                spool.put(*events.metrics(run, values, epoch, BEGUN + n + epoch / 100))
            best = {"best/H": (n * 7919 % trials) / trials}
            key, event = events.metrics(run, best, epochs, BEGUN + n + 1)
            spool.put(f"{key}#best", event)
            spool.put(*events.end(run, {"state": "COMPLETE"}, at=BEGUN + n + 1))


def replayed(folder: Path, trials: int) -> tuple[float, float, str]:
    """Return the seconds and CPU seconds of logging a study again, and the store it is in."""
    spool, uri = Spool(folder / "study.db"), f"sqlite:///{folder}/mlflow.db"
    MlflowClient(uri).search_experiments()  # the tables are made
    study(spool, trials, EPOCHS, REPLAYED)
    before, began = cpu(), time.monotonic()
    ship(spool, uri, closed=lambda: True)
    return time.monotonic() - began, cpu() - before, uri


def asked(uri: str, folder: Path, times: int) -> float:
    """Return the median seconds of the query that the page of runs makes, of a server."""
    server = Server(uri=uri, port=5987)
    experiment = MlflowClient(uri).get_experiment_by_name("toy").experiment_id
    query = {
        "experiment_ids": [experiment],
        "filter": "",
        "run_view_type": "ACTIVE_ONLY",
        "max_results": 100,
        "order_by": ["metrics.`best/H` DESC"],
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            server.command(), stdout=log, stderr=log, env=os.environ | server.environment()
        )
    try:
        return statistics.median(_query(query) for _ in range(times))
    finally:
        process.terminate()
        process.wait()


def _query(query: dict[str, Any]) -> float:
    request = urllib.request.Request(
        "http://127.0.0.1:5987/api/2.0/mlflow/runs/search",
        json.dumps(query).encode(),
        {"Content-Type": "application/json"},
    )
    for _ in range(600):
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                runs = json.load(response)["runs"]
                if len(runs) < query["max_results"]:
                    sys.exit(f"the server has {len(runs)} runs")
                return time.monotonic() - began
        except OSError:  # it is starting
            time.sleep(0.2)
    sys.exit("the server did not start")


def epoch_cpu(epochs: int) -> float:
    """Return the median CPU seconds of an epoch of a real trial: 40 bird classes, 112 pixels."""
    store, _ = store_of("cub2010_mini", 112)
    config = with_overrides(RunConfig(), SETTINGS | {"optim.epochs": epochs + 1})
    used, last = [], cpu()
    for _ in fit(config, development.open_store(store, levels=config.model.levels)):
        used.append(cpu() - last)
        last = cpu()
    return statistics.median(used[1:])


def spooled(file: Path) -> float:
    """Return how many events a second a spool takes, each on the disk."""
    spool, began = Spool(file), time.monotonic()
    for n in range(1000):
        spool.put(*events.metrics("s/0", METRICS, n, BEGUN + n))
    return 1000 / (time.monotonic() - began)


def main() -> None:
    """Measure, print and judge."""
    given = arguments(__doc__ or "")
    epochs, trials = (20, 200) if given.quick else (100, TRIALS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        costs = ways(folder, epochs)
        seconds, shipped, uri = replayed(folder, trials)
        query = asked(uri, folder, 5 if given.quick else 15)
        rate = spooled(folder / "rate.db")
    training = epoch_cpu(2 if given.quick else 6)
    own = costs.pop("ours")
    beside = shipped / (trials * EPOCHS)
    both = own.cpu + beside
    figures: dict[str, object] = {
        "ours, an epoch": f"{own.calls:.0f} calls, {1000 * own.cpu:.2f} ms CPU in the driver, "
        f"{1000 * beside:.1f} ms in the shipper's process",
    }
    for way, each in costs.items():
        figures[f"{way}, an epoch"] = f"{each.calls:.0f} calls, {1000 * each.cpu:.0f} ms CPU"
    figures |= {
        "training, CPU-s an epoch (cub2010_mini)": round(training, 3),
        "spool, events a second, each on the disk": round(rate),
        f"{trials * EPOCHS * REPLAYED:,} metrics logged again, seconds": round(seconds, 1),
        "metrics a second": round(trials * EPOCHS * REPLAYED / seconds),
        f"query of {trials} trials, seconds": round(query, 3),
    }
    bars = [
        Bar("CPU that logging adds to a trial, %", 100 * own.cpu / training, 2.0, least=False),
        Bar("the same, with the shipper's, %", 100 * both / training, 2.0, least=False),
        Bar("MLflow's calls in the driver", own.calls, 0.0, least=False),
        Bar(f"query of {trials} trials, s", query, 2.0, least=False),
    ]
    finish(figures, bars, given.json)


if __name__ == "__main__":
    main()

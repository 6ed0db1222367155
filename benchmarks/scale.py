"""What a head can do for 1,000 workers: simulated, without Ray and without training.

Workers that cost nothing tell epochs to the real record, policy and queue for MLflow, one after
another as the driver hears them: what is left is the driver's own time. First all workers start a
trial, which is when trials are chosen; then each tells epochs, trials end and others start. At the
end the queue is shipped to an MLflow in SQLite. The figures say at which length of an epoch the
driver would be busy all the time; the bars are for epochs of a minute.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from bars import Bar, finish, flags

from drmn.config import RunConfig
from drmn.metric_names import COST, Metrics
from drmn.search.callbacks.mlflow_logger import MlflowLogger
from drmn.search.callbacks.study_metadata import StudyMetadata
from drmn.search.config import PolicyConfig
from drmn.search.storage.studies import open_study
from drmn.search.study.ask_tell import AskTellStudy
from drmn.space import Constants, Trial
from drmn.tracking.shipper import ship
from drmn.tracking.spool import open_spool
from drmn.tracking.uri import absolute

WORKERS, EPOCHS, MINUTE = 1000, 10, 60.0
"""A trial's epochs, and the seconds of one that the bars are for."""
NAMES = ("H", "H_optimal", "H_se", "AUSUC", "T1", "U", "S", "gamma", "beta")
"""Of the figures that an epoch tells."""


@dataclass
class Spent:
    """Seconds that a part of the driver took, and for how many things."""

    seconds: float = 0.0
    count: int = 0

    @property
    def rate(self) -> float:
        """How many a second."""
        return self.count / self.seconds

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count what a `with` block does."""
        began = time.perf_counter()
        yield
        self.seconds, self.count = self.seconds + time.perf_counter() - began, self.count + 1


@dataclass
class Parts:
    """The parts of the driver."""

    choosing: Spent = field(default_factory=Spent)
    writing: Spent = field(default_factory=Spent)
    queueing: Spent = field(default_factory=Spent)
    shipping: Spent = field(default_factory=Spent)

    def seconds_a_trial(self, epochs: float) -> float:
        """Return the driver's seconds for a trial of so many epochs; shipping has a process."""
        each = 1 / self.writing.rate + 1 / self.queueing.rate
        return 1 / self.choosing.rate + epochs * each


def space(trial: Trial) -> Constants:
    """Ask for what a search of a real space would."""
    trial.suggest_float("optim.lr", 1e-4, 1e-2, log=True)
    trial.suggest_float("optim.weight_decay", 1e-6, 1e-2, log=True)
    trial.suggest_float("model.scale", 1.0, 8.0)
    trial.suggest_float("loss.self_calibration", 1e-3, 1.0, log=True)
    trial.suggest_categorical("model.fusion", ["add", "concat"])
    return {"optim.epochs": EPOCHS, "model.sit": "none"}


def metrics_of(chance: random.Random, quality: float, epoch: int) -> Metrics:
    """Return what an epoch comes to."""
    value = quality * (1 - 0.6**epoch) + chance.gauss(0, 0.01)
    return {f"val/{name}": value for name in NAMES} | {"loss/total": 1 - value, COST: MINUTE}


def simulate(study: AskTellStudy, mlflow_logger: MlflowLogger, workers: int, epochs: int) -> Parts:
    """Run so many workers until they have reported so many epochs each, on average."""
    parts, chance = Parts(), random.Random(0)  # noqa: S311
    at_work: dict[int, tuple[int, float]] = {}

    def begin() -> None:
        with parts.choosing.timed():
            point = study.ask()
        assert point is not None  # noqa: S101 - without a window there always is one
        mlflow_logger.on_trial_start(point)
        at_work[point.number] = 0, chance.random()

    for _ in range(workers):
        begin()
    for _ in range(workers * epochs):
        number = chance.choice(list(at_work))
        epoch, quality = at_work[number]
        metrics = metrics_of(chance, quality, epoch + 1)
        with parts.writing.timed():
            stop = study.report(number, epoch + 1, metrics)
        with parts.queueing.timed():
            mlflow_logger.on_epoch_end(number, epoch + 1, metrics)
        at_work[number] = epoch + 1, quality
        if stop:
            del at_work[number]
            mlflow_logger.on_trial_end(study.record.trial_summary(number))
            begin()
    return parts


ABOUT = StudyMetadata(experiment="scale", note="", data="0", profile={}, lines=[], code={})


def measured(workers: int, epochs: int) -> tuple[Parts, float]:
    """Return what the parts took, and the driver's megabytes above what it began with."""
    with tempfile.TemporaryDirectory() as folder:
        before = psutil.Process().memory_info().rss
        opened = open_study(Path(folder), {"of": "a simulation"})
        study = AskTellStudy(opened, space, RunConfig(), PolicyConfig())
        spool = open_spool(Path(folder, "spool.db"))
        mlflow_logger = MlflowLogger(spool, Path(folder), study.record)
        mlflow_logger.on_study_start(ABOUT)
        parts = simulate(study, mlflow_logger, workers, epochs)
        memory = (psutil.Process().memory_info().rss - before) / 1e6
        waiting = spool.count
        with parts.shipping.timed():
            ship(spool, absolute(f"sqlite:///{folder}/mlflow.db"), closed=lambda: True)
        parts.shipping.count = waiting
    return parts, memory


def asked() -> argparse.Namespace:
    """Return the command line."""
    parser = flags(__doc__ or "")
    parser.add_argument("--workers", type=int, default=0, help="instead of 1,000 (100 if quick)")
    return parser.parse_args()


def main() -> None:
    """Simulate, and tell where the limit lies."""
    given = asked()
    workers = given.workers or (100 if given.quick else WORKERS)
    parts, memory = measured(workers, 2 if given.quick else 3)
    for name in ("choosing", "writing", "queueing", "shipping"):
        print(f"{name}: {getattr(parts, name).rate:.1f} a second", file=sys.stderr)
    busy = workers * parts.seconds_a_trial(EPOCHS) / EPOCHS
    figures: dict[str, object] = {
        "workers": workers,
        "trials chosen a second": f"{parts.choosing.rate:.1f}",
        "epochs written into the record a second": f"{parts.writing.rate:.1f}",
        "epochs queued for MLflow a second": f"{parts.queueing.rate:.1f}",
        "events shipped to MLflow a second": f"{parts.shipping.rate:.1f}",
        "seconds of an epoch at which the driver is busy all the time": f"{busy:.1f}",
    }
    need = workers / MINUTE
    bars = [
        Bar("trials chosen a second / needed", parts.choosing.rate / (need / EPOCHS), 1),
        Bar("epochs written a second / needed", parts.writing.rate / need, 1),
        Bar("epochs queued a second / needed", parts.queueing.rate / need, 1),
        Bar("events shipped a second / needed", parts.shipping.rate / need, 1),
        Bar("driver's share of a minute's epochs", busy / MINUTE, 0.5, least=False),
        Bar("MB of memory", memory, 1000, least=False),
    ]
    finish(figures, bars, given.json)


if __name__ == "__main__":
    main()

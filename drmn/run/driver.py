"""One run, all put together: its folder, Ray Train, MLflow's spool, what is shown."""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from drmn.cluster.resources import WorkerGroupConfig
from drmn.config import RunConfig, flatten
from drmn.data.images.catalogue import Catalogue
from drmn.data.splits import development
from drmn.data.store import feature_store
from drmn.errors import StudyError
from drmn.experiment import baseline_cache as kept
from drmn.experiment import model_export
from drmn.experiment.config import PicturesConfig
from drmn.experiment.identity import refusal
from drmn.experiment.lock import lock_folder
from drmn.experiment.trial_checkpoints import PACKAGE
from drmn.io import atomic
from drmn.metric_names import Metrics, figures
from drmn.run.epoch_log import HISTORY, History
from drmn.run.mlflow_log import RUN, begin, tell_best, tell_epoch
from drmn.tracking import events, provenance
from drmn.tracking.shipper import ShipperProcess, absolute, drain
from drmn.tracking.spool import Spool, open_spool
from drmn.tracking.uri import require_store
from drmn.training.checkpoint import BEST, State, load, save

Told = Callable[[int, Metrics], None]
"""Told each epoch once, with its metrics."""
LOOK = 0.5
"""Seconds between two looks at how far the workers are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A run to make or to go on with."""

    name: str
    dataset: str
    config: RunConfig
    store: Path
    """The feature store."""
    catalogue: Catalogue
    folder: Path
    """Of the run."""
    tracking_uri: str
    group: WorkerGroupConfig = field(default_factory=WorkerGroupConfig)
    pictures: PicturesConfig = field(default_factory=PicturesConfig)

    def __post_init__(self) -> None:
        """Check what nothing else does."""
        require_store(self.tracking_uri)

    def identity(self) -> Mapping[str, Any]:
        """Return all that must stay as it is while the run goes on; not who computes it."""
        settings = {k: v for k, v in flatten(self.config).items() if k not in FREE}
        return {"data": self.store.name, **settings}


FREE = ("compute.checkpointing", "compute.compile")
"""Settings that may change while a run goes on: they change no result but its rounding."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run. Accuracies are shares of 1, on validation."""

    run: str
    data: str
    """The digest of data and features."""
    epochs: Mapping[int, Metrics]
    best: int
    """The best epoch."""
    lines: Mapping[str, Metrics]
    """Those to beat, by name."""

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        best = {"epoch": self.best, **figures(self.epochs[self.best])}
        epochs = [{"epoch": number, **metrics} for number, metrics in self.epochs.items()]
        parts = {"run": self.run, "data": self.data, "best": best, "epochs": epochs}
        lines = {name: figures(line) for name, line in self.lines.items()}
        return parts | {"baselines": lines}


def run(plan: Plan, told: Told, console: Console) -> Outcome:
    """Train the run of `plan` to its last epoch, from where it stands.

    Raises:
        UserError: The run is held by another process, was made with other settings, or failed.
    """
    with lock_folder(plan.folder, plan.name, kind="run"):
        made, history = _made(plan), History(plan.folder / HISTORY)
        data = development.open_store(plan.store, fold=plan.config.fold)
        with _reported(plan, made, console) as spool:

            def tell(epoch: int, metrics: Metrics) -> None:
                tell_epoch(spool, made["key"], epoch, metrics, plan.folder)
                told(epoch, metrics)

            state = _trained(plan, history, tell)
            found = kept.cached_baselines(
                data, plan.config.fold, plan.folder.parents[1] / "baselines"
            )
            lines = {line.name: line.metrics for line in found}
            made |= {"lines": {name: line["val/H"] for name, line in lines.items()}}
            key = feature_store.key_of(feature_store.manifest_of(plan.store))
            made |= {"data": key.judged(plan.config.fold)}
            if model_export.takes_photos(plan.store):
                model_export.pack(plan.folder / PACKAGE, plan.config, state, data, plan.store)
            atomic.write(plan.folder / RUN, json.dumps(made, indent=1))
            tell_best(spool, made, state, plan.folder)
        return Outcome(plan.name, data.digest, history.epochs(), state["number"], lines)


@contextmanager
def _reported(plan: Plan, made: Mapping[str, Any], console: Console) -> Iterator[Spool]:
    """Tell MLflow of a run for a `with` block: that it goes on, and how it ends."""
    spool = open_spool(plan.folder / "spool.db")
    shipper = ShipperProcess(spool.path, absolute(plan.tracking_uri))
    begin(spool, made)
    spool.put(*events.tags(made["key"], provenance.tags()))
    spool.put(*events.goes_on(made["key"]))
    for path in provenance.files(plan.folder):
        spool.put(*events.artifact(made["key"], path, provenance.PROVENANCE))
    failed = False
    try:
        yield spool
    except Exception:
        failed = True
        raise
    finally:
        spool.put(*events.end(made["key"], {}, failed=failed))
        drain(shipper, spool, plan.tracking_uri, console)


def _made(plan: Plan) -> dict[str, Any]:
    """Return what the run is called in MLflow; refuse to go on with one of other settings."""
    file, now = plan.folder / RUN, json.loads(json.dumps(plan.identity()))
    if file.is_file():
        made: dict[str, Any] = json.loads(file.read_text())
        if made["identity"] != now:
            raise StudyError(refusal("run", plan.name, made["identity"], now))
        return made
    made = {
        "key": f"{plan.name}-{uuid.uuid4().hex[:8]}",
        "name": plan.name,
        "experiment": plan.dataset,
        "tags": {"kind": "run", "tier": plan.config.tier, "workers": str(plan.group.most)},
        "begun": time.time(),
        "identity": now,
    }
    atomic.write(file, json.dumps(made, indent=1))
    return made


def _trained(plan: Plan, history: History, tell: Told) -> State:
    """Return the state of the best epoch, trained if it is not there."""
    kept = load(plan.folder / BEST)
    if kept is None:
        kept = _with_ray(plan, history, tell)
        save(plan.folder / BEST, kept)
    else:
        for epoch, metrics in history.epochs().items():
            tell(epoch, metrics)
    return kept


def _with_ray(plan: Plan, history: History, tell: Told) -> State:
    import ray  # noqa: PLC0415 - takes seconds

    from drmn.cluster.connect import ray_session  # noqa: PLC0415
    from drmn.run.ray_train import Job, check, train  # noqa: PLC0415

    job = Job(
        flatten(plan.config),
        str(plan.store.absolute()),
        plan.catalogue,
        str(plan.folder.absolute()),
        plan.pictures,
        max(1, int(plan.group.cpus)),
    )
    check(job)  # a mistake in the settings is told before any worker starts
    # Ray is left before the thread is waited for: that ends its waiting.
    with ThreadPoolExecutor(1) as thread, ray_session():
        plan.group.check(ray.cluster_resources())
        # In a thread: Ray would take Ctrl-C for itself.
        training = thread.submit(train, job, plan.group, plan.folder)
        _follow(training, history, tell)
        return training.result()


def _follow(training: Future[State], history: History, tell: Told) -> None:
    """Tell each epoch that the history has, until the training is over."""
    seen = 0
    while True:
        over = training.done()
        for epoch, metrics in history.epochs().items():
            if epoch > seen:
                tell(epoch, metrics)
                seen = epoch
        if over:
            return
        time.sleep(LOOK)

"""Studies of a small space, for tests of what reads and writes them."""

from contextlib import contextmanager
from pathlib import Path

from drmn.config import RunConfig
from drmn.search.config import PolicyConfig
from drmn.search.executors.config import ExecutorConfig
from drmn.search.storage.factory import make_storage
from drmn.search.storage.studies import open_study
from drmn.search.study.ask_tell import AskTellStudy

IDENTITY = {"data": "toy", "base.optim.lr": 0.001}


def space(trial):
    trial.suggest_float("optim.lr", 1e-4, 1e-2, log=True)
    return {"optim.epochs": 3}


@contextmanager
def locked(url, name, studies=Path()):
    """Hold a study of a database; return its storage."""
    storage = make_storage(url)
    with storage.lock(studies / name):
        yield storage


def open_toy(folder, space=space, *, storage=None, **policy):
    study = open_study(folder, IDENTITY, storage)
    return AskTellStudy(
        study, space, RunConfig(), PolicyConfig(**{"sampler": "random", "first_rung": 1, **policy})
    )


def executor_config(study, folder, kind, trials=1, **more):
    """Return settings of an executor for so many trials of a kind of task, without features."""
    return ExecutorConfig(
        store=folder,
        folder=folder,
        may_start=lambda: study.record.count < trials,
        may_go_on=lambda: False,
        kind=kind,
        **more,
    )


def metrics(value):
    return {"val/H": value, "loss/total": 1.0}


def finish(study, values):
    point = study.ask()
    for epoch, value in enumerate(values, start=1):
        if study.report(point.number, epoch, metrics(value)):
            break
    return study.record.trial_summary(point.number)


def told(value, seen=0.5, cost=1.0):
    return {"val/H": value, "val/S": seen, "cost/worker_seconds": cost}

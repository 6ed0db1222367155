"""One run through Ray Train: the workers' loop, and who starts and restarts them.

Each worker runs `drmn.training.loop.fit`; worker 0 saves. Ray Train starts a group anew that lost a
worker, and a run of the same name and folder resumes from its last whole checkpoint.
"""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import CheckpointConfig, FailureConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.callback import UserCallback
from ray.train.v2.api.exceptions import TrainingFailedError

from drmn.cluster import preemption
from drmn.cluster.resources import WorkerGroupConfig
from drmn.config import RunConfig, with_overrides
from drmn.data.images.catalogue import Catalogue
from drmn.errors import StudyError, last_line
from drmn.experiment.attention_snapshots import AttentionSnapshots, is_wanted
from drmn.experiment.config import PicturesConfig
from drmn.experiment.open_data import open_run_data
from drmn.model.finetuned import FinetunedNetwork
from drmn.run.epoch_log import HISTORY, History
from drmn.training.checkpoint import LAST, State, load, save
from drmn.training.loop import assemble, fit
from drmn.training.stop import PreemptedError, TrialPreemptedError

KEPT = 2
"""Best checkpoints that are kept beside the last one."""
OBJECTIVE = "val/H"
"""What the best epoch is best at."""
NO_EPOCH = -1.0
"""The objective of a part of an epoch, which no epoch has: Ray Train drops it before any."""
Kept = tuple[ray.train.Checkpoint, Mapping[str, Any]]
"""A checkpoint and what its epoch came to."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """What workers need; it travels to each."""

    settings: Mapping[str, Any]
    """Of a run, flat."""
    store: str
    """The feature store, which knows the backbone too."""
    catalogue: Catalogue
    """The photos."""
    folder: str
    """Of the run, on storage that every worker reaches."""
    pictures: PicturesConfig
    threads: int


def album_of(job: Job) -> AttentionSnapshots | None:
    """Return what draws pictures of a run, if they are wanted and can be had."""
    run, store = with_overrides(RunConfig(), job.settings), Path(job.store)
    if not is_wanted(run, store, job.catalogue, job.pictures):
        return None
    return AttentionSnapshots(run, store, job.catalogue, Path(job.folder), job.pictures)


def check(job: Job) -> None:
    """Raise `UserError` for settings that this data or backbone cannot serve."""
    album_of(job)
    run, data, backbone = open_run_data(job.settings, Path(job.store), job.catalogue)
    network = assemble(run, data, backbone)
    if isinstance(network, FinetunedNetwork):
        network.configure(run.compute)


def work(given: dict[str, Any]) -> None:
    """Train, as one worker of the group."""
    job: Job = given["job"]
    torch.set_num_threads(job.threads)
    run, data, backbone = open_run_data(job.settings, Path(job.store), job.catalogue)
    device = str(ray.train.torch.get_device())
    first = ray.train.get_context().get_world_rank() == 0
    album = album_of(job) if first else None
    leave = preemption.notice_to_group()
    try:
        for epoch in fit(run, data, backbone=backbone, resume=_last(), device=device, leave=leave):
            if album is not None:
                album.draw(epoch)
            told = {"epoch": epoch.number, **epoch.metrics, **epoch.costs}
            _report(told, epoch.state | {"metrics": epoch.metrics}, first=first)
    except PreemptedError as leaving:
        _report({OBJECTIVE: NO_EPOCH}, leaving.state, first=first)
        raise TrialPreemptedError(str(leaving)) from None


def _report(told: Mapping[str, float], state: State, *, first: bool) -> None:
    """Tell Ray Train what an epoch came to; the first worker saves."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if first:
            save(Path(folder, LAST), state)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report(dict(told), checkpoint=checkpoint)


def _last() -> State | None:
    """Return the state of the latest epoch whose checkpoint is whole."""
    last = ray.train.get_checkpoint()
    earlier = [each.checkpoint for each in ray.train.get_all_reported_checkpoints()]
    states = (state_of(each) for each in [last, *reversed(earlier)] if each is not None)
    return next((state for state in states if state is not None), None)


def state_of(checkpoint: ray.train.Checkpoint) -> State | None:
    """Return what a checkpoint holds, or None if it is gone or damaged."""
    try:
        with checkpoint.as_directory() as folder:
            return load(Path(folder, LAST))
    except FileNotFoundError:
        return None


class Recorder(UserCallback):
    """Writes each epoch into the run's history, on the machine of the driver."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def after_report(
        self,
        run_context: Any,
        metrics: list[dict[str, Any]],
        checkpoint: ray.train.Checkpoint | None,
    ) -> None:
        """Write down what worker 0 told: all tell the same, but for seconds."""
        del run_context, checkpoint
        told = dict(metrics[0])
        if "epoch" in told:  # and not a part of one
            History(self.path).add(told.pop("epoch"), told)


def train(job: Job, group: WorkerGroupConfig, folder: Path) -> State:
    """Train until the last epoch; return the state of the best whole one. Needs a `cluster`.

    Args:
        job: What is trained.
        group: By how many workers.
        folder: Of the run: the history and the checkpoints are in it.

    Raises:
        StudyError: The workers failed, and it says why; or no checkpoint is whole.
    """
    trainer = TorchTrainer(
        work,
        train_loop_config={"job": job},
        torch_config=TorchConfig(backend="nccl" if group.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=group.least if group.least == group.most else (group.least, group.most),
            use_gpu=group.gpus > 0,
            resources_per_worker={"CPU": group.cpus, **({"GPU": group.gpus} if group.gpus else {})},
        ),
        run_config=ray.train.RunConfig(
            name="checkpoints",
            storage_path=str(folder.absolute()),
            failure_config=FailureConfig(max_failures=group.failures, controller_failure_limit=3),
            checkpoint_config=CheckpointConfig(
                num_to_keep=KEPT, checkpoint_score_attribute=OBJECTIVE
            ),
            callbacks=[Recorder(folder.absolute() / HISTORY)],
            logging_config=ray.train.LoggingConfig(log_level="CRITICAL"),
        ),
    )
    try:
        result = trainer.fit()
    except TrainingFailedError as problem:
        raise StudyError(f"{folder}: {_cause(problem)}.") from None
    return best_of(folder, result.best_checkpoints or [])


def best_of(folder: Path, kept: Sequence[Kept]) -> State:
    """Return the state of the best epoch whose checkpoint is whole; say so if others were better.

    Raises:
        StudyError: None is whole.
    """
    whole = [pair for pair in kept if pair[1][OBJECTIVE] != NO_EPOCH]
    ranked = sorted(whole, key=lambda pair: pair[1][OBJECTIVE], reverse=True)
    for damaged, (checkpoint, _) in enumerate(ranked):
        state = state_of(checkpoint)
        if state is None:
            continue
        if damaged:
            log.warning(
                "%s: the best epoch's checkpoint is damaged; epoch %d is the best that is whole.",
                *(folder, state["number"]),
            )
        return state
    raise StudyError(f"{folder}: no checkpoint of it is whole; remove the folder to train it anew.")


def _cause(problem: TrainingFailedError) -> str:
    """Return what the first worker that failed raised, in one line."""
    failed: Mapping[int, BaseException] = getattr(problem, "worker_failures", {})
    return last_line(next(iter(failed.values()), problem)).rstrip(".")

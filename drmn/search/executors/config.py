"""The settings of the executor."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from drmn.cluster.resources import ResourceConfig
from drmn.data.images.catalogue import Catalogue
from drmn.experiment.config import NO_PICTURES, PicturesConfig
from drmn.experiment.trial_task import TrialTask
from drmn.search.callbacks.base import Callback


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorConfig:
    """Settings of the executor, besides the record."""

    store: Path
    """The feature store."""
    catalogue: Catalogue | None = None
    """The photos, for trials of the finetuned tier."""
    folder: Path
    """Folder of the study; each trial has a folder in it."""
    study: str = ""
    """Key of the study's record, which the trials' states carry."""
    may_start: Callable[[], bool]
    """Whether another trial may start."""
    may_go_on: Callable[[], bool]
    """Whether trials of the fine-tuned tier, which are not counted, may start."""
    resources: ResourceConfig = field(default_factory=ResourceConfig)
    pictures: PicturesConfig = NO_PICTURES
    """Attention maps that trials draw while they train."""
    at_once: int = 0
    """Trials that run in parallel; 0 for as many as the cluster holds."""
    require_there: Callable[[], None] = lambda: None
    """Raises `StudyError` if the study's folder was removed."""
    stop_on_error: bool = False
    """Whether the search ends with an error, to be resumed, where a trial would have failed."""
    kind: type[TrialTask] = TrialTask
    """Class of the trials' tasks; a benchmark has one that does nothing."""
    callbacks: list[Callback] = field(default_factory=list)

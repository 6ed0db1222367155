"""Plans of a search or a run: all settings that decide its result, and its folder."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from drmn.cluster.resources import ResourceConfig
from drmn.config import RunConfig
from drmn.experiment import code_digest
from drmn.experiment.config import NO_PICTURES, PicturesConfig, require_name
from drmn.experiment.identity import BASE, FREE, GIVEN
from drmn.fields import flatten, require
from drmn.search.config import Budget, PolicyConfig
from drmn.search.storage.factory import make_storage
from drmn.search.storage.names import kind_of
from drmn.search.study.given_settings import overruled, with_given
from drmn.space import Constants, Space, fixed_settings, load, source
from drmn.space_features import LEVELS, with_held_levels
from drmn.tracking.names import experiment_name
from drmn.tracking.uri import require_store

P = TypeVar("P", bound="Plan")
FIXED = PolicyConfig(sampler="random", pruner="none")
"""The policy of a run: there is nothing to choose, and nothing stops it early."""
ONE_TRIAL = Budget(trials=1, at_once=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan(ABC):
    """Plan of a search (`StudyPlan`), or of a run, which is a study of one trial (`RunPlan`)."""

    dataset: str
    base: RunConfig
    """The settings, as far as the space leaves them alone."""
    policy: PolicyConfig
    budget: Budget
    folder: Path
    """results/studies/NAME or results/runs/NAME."""
    tracking_uri: str
    storage: str = ""
    """The PostgreSQL that holds the record; empty for a SQLite file in the folder."""
    resources: ResourceConfig = field(default_factory=ResourceConfig)
    pictures: PicturesConfig = NO_PICTURES
    """Attention maps that are drawn while a trial trains."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Options of `jobs/train.py` that name the data, features and workers (`train_command`)."""

    def __post_init__(self) -> None:
        """Check the settings that nothing else checks."""
        require_name(self.kind, self.name)
        require_store(self.tracking_uri)
        frozen = not self.policy.finetune or self.base.tier == "frozen"
        require("tier", self.base.tier, frozen, "frozen where policy.finetune is set")
        make_storage(self.storage)

    @property
    def name(self) -> str:
        """The name of the study or run."""
        return self.folder.name

    @property
    def kind(self) -> str:
        """Kind of the plan: "study" or "run"."""
        return kind_of(self.folder)

    @property
    def options(self) -> Mapping[str, Any]:
        """Options of `jobs/train.py` that a trial of this plan is trained again with."""
        other = {"objective": self.policy.objective}
        plain = self.policy.objective == PolicyConfig().objective
        return {"dataset": self.dataset, **self.data, **({} if plain else other)}

    @property
    def experiment(self) -> str:
        """The name of MLflow's experiment: the dataset's."""
        return experiment_name(self.options)

    @property
    @abstractmethod
    def search_space(self) -> Space:
        """The space that suggests the trials' parameters.

        Raises:
            ConfigError: There is none of this name, or its file defines none.
        """

    @abstractmethod
    def identity(self, store: Path) -> Mapping[str, Any]:
        """Return all that must not change when trials on the features `store` are resumed."""

    @abstractmethod
    def title(self, number: int) -> str:
        """Return the name of a trial in a picture's title."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPlan(Plan):
    """A search to start or resume."""

    space: str
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    budget: Budget = field(default_factory=Budget)
    fork: str = ""
    """The study whose trials this one learns from."""
    warm_start: str = ""
    """The study, or JSON file, whose best settings this one tries first."""

    given: Constants = field(default_factory=dict)
    """Settings of the command line: they hold in every trial, whatever the space says."""

    def __post_init__(self) -> None:
        """Check that there is something to search for."""
        Plan.__post_init__(self)
        name = self.policy.objective
        require("policy.objective", name, name != "train/epoch", "a metric of validation (val/...)")

    @property
    def search_space(self) -> Space:
        """The space of that name, or in that file; given settings win over it."""
        return with_given(load(self.space), self.given)

    @property
    def overruled(self) -> dict[str, str]:
        """A line on each given setting that the space decides too."""
        return overruled(load(self.space), self.given)

    def identity(self, store: Path) -> Mapping[str, Any]:
        """Return data, code, space, policy and settings; not the resources that compute it."""
        text = source(self.space).read_bytes()
        return {
            "data": store.name,
            "space": Path(self.space).stem,
            "space_digest": hashlib.sha256(text).hexdigest()[:16],
            "code": code_digest.digest(),
            "fork": self.fork,
            "warm_start": self.warm_start,
            **flatten(self.policy, "policy."),
            **{f"{BASE}{name}": value for name, value in _fixed(self.base).items()},
            **{f"{GIVEN}{name}": self.given[name] for name in self.overruled},
        }

    def title(self, number: int) -> str:
        """Return the study's name with the trial's number."""
        return f"Study {self.name}, trial {number}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan(Plan):
    """A run at fixed settings to start or resume."""

    policy: PolicyConfig = FIXED
    budget: Budget = ONE_TRIAL

    @property
    def search_space(self) -> Space:
        """One point."""
        return fixed_settings

    def identity(self, store: Path) -> Mapping[str, Any]:
        """Return data, code and settings; not the resources that compute it."""
        return {
            "data": store.name,
            "code": code_digest.digest(),
            "objective": self.policy.objective,
            **_fixed(self.base),
        }

    def title(self, number: int) -> str:
        """Return the run's name: it has one trial."""
        del number
        return f"Run {self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class EnqueuedPlan(Plan):
    """A study whose trials are enqueued, none of them suggested: their settings are known before.

    Trials may be added to the end of the queue between its starts.
    """

    policy: PolicyConfig
    queue: Sequence[Mapping[str, Any]]
    """What each trial sets otherwise than `base`."""
    basis: Mapping[str, Any]
    """What the queue is made from, which must not change when the study is resumed."""
    note: str
    """What the study is for, in a sentence for MLflow."""

    @property
    def search_space(self) -> Space:
        """One point."""
        return fixed_settings

    def identity(self, store: Path) -> Mapping[str, Any]:
        """Return data, code, settings and what the queue is made from."""
        basis = {"data": store.name, "code": code_digest.digest(), **self.basis}
        return basis | {f"base.{name}": value for name, value in _fixed(self.base).items()}

    def title(self, number: int) -> str:
        """Return the study's name with the trial's number."""
        return f"Study {self.name}, trial {number}"


def on_levels(plan: P, held: str) -> P:
    """Return a plan on features that hold these levels: b-1 is their last block."""
    base = with_held_levels(plan.base, held)
    if isinstance(plan, StudyPlan) and LEVELS in plan.given:
        return replace(plan, base=base, given={**plan.given, LEVELS: base.model.levels})
    return replace(plan, base=base)


def _fixed(config: RunConfig) -> dict[str, Any]:
    return {name: value for name, value in flatten(config).items() if name not in FREE}

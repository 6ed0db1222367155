"""A search to make: all that decides what it comes to, and where it is kept."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drmn.cluster.resources import ResourceConfig
from drmn.config import RunConfig, flatten, require
from drmn.experiment import code_digest
from drmn.experiment.config import require_name
from drmn.search.config import Budget, PolicyConfig
from drmn.search.storage.postgres import parse_url
from drmn.space import source
from drmn.tracking.uri import require_store


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPlan:
    """A search to make or to go on with."""

    name: str
    """Of the study."""
    dataset: str
    space: str
    base: RunConfig
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    budget: Budget = field(default_factory=Budget)
    folder: Path
    """Of the study."""
    tracking_uri: str
    storage: str = ""
    """The PostgreSQL that holds the record; empty for a SQLite file in the folder."""
    resources: ResourceConfig = field(default_factory=ResourceConfig)
    fork: str = ""
    """The study whose trials this one learns from."""
    warm_start: str = ""
    """The study, or JSON file, whose best settings this one tries first."""

    def __post_init__(self) -> None:
        """Check what nothing else does."""
        require_name("study", self.name)
        require_store(self.tracking_uri)
        frozen = not self.policy.finetune or self.base.tier == "frozen"
        require("tier", self.base.tier, frozen, "frozen where policy.finetune is set")
        if self.storage:
            parse_url(self.storage)

    def identity(self, store: Path) -> Mapping[str, Any]:
        """Return all that must stay as it is while the study on `store` goes on."""
        text = source(self.space).read_bytes()
        return {
            "data": store.name,
            "space": Path(self.space).stem,
            "space_digest": hashlib.sha256(text).hexdigest()[:16],
            "code": code_digest.digest(),
            "fork": self.fork,
            "warm_start": self.warm_start,
            **flatten(self.policy, "policy."),
            **flatten(self.base, "base."),
        }

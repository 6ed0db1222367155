"""What all steps of a finalize share: the search, its features, and where they run."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from drmn.cluster.resources import ResourceConfig
from drmn.config import RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.data.images.catalogue import Catalogue
from drmn.errors import StudyError
from drmn.experiment import code_digest
from drmn.fields import flatten, with_overrides
from drmn.io.progress import StartProgress
from drmn.prepare.job import FeatureRequest
from drmn.search.config import Budget, PolicyConfig
from drmn.search.storage.studies import load_study
from drmn.search.study.plan import EnqueuedPlan
from drmn.search.trial_summary import METADATA, TrialSummary, summarize_all

STUDIES = "studies"


@dataclass(frozen=True, kw_only=True)
class Search:
    """A finished search, as its record has it."""

    name: str
    results: Path
    storage: str = ""

    @cached_property
    def study(self) -> Any:
        """The Optuna study.

        Raises:
            StudyError: There is none of this name.
        """
        return load_study(self.results / STUDIES, self.name, self.storage)

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.results / STUDIES / self.name

    @property
    def identity(self) -> Mapping[str, Any]:
        """Data, code, space, policy and settings of the search."""
        found: Mapping[str, Any] = self.study.user_attrs["identity"]
        return found

    @property
    def objective(self) -> str:
        """The metric that the search maximised."""
        return str(self.identity["policy.objective"])

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return str(self.study.user_attrs[METADATA]["options"]["dataset"])

    @property
    def fold(self) -> int:
        """The fold that the search chose on."""
        return int(self.identity["base.fold"])

    def trials(self) -> list[TrialSummary]:
        """Return all trials that have settings."""
        return summarize_all(self.study)

    def require(self) -> None:
        """Check that a search can be finalized.

        Raises:
            StudyError: It is none, was made by other code, or has nothing finished.
        """
        if "policy.objective" not in self.study.user_attrs.get("identity", {}):
            raise StudyError(f"--study {self.name}: not a search; give the name of one.")
        if self.identity["code"] != code_digest.digest():
            raise StudyError(
                f"--study {self.name}: it was made by other code than this, so its trials are not "
                "comparable; finalize it with that version, or search again."
            )
        states = [trial.state for trial in self.trials()]
        if "COMPLETE" not in states:
            raise StudyError(
                f"--study {self.name}: none of its {len(states)} trials is complete; run its "
                "jobs/tune.py command to go on with it."
            )

    def request(self, data_root: str = "") -> FeatureRequest:
        """Return the request of its features; `data_root` is where the data are now, if moved."""
        options = self.study.user_attrs[METADATA]["options"]
        own = {name: value for name, value in options.items() if name in flatten(FeatureConfig())}
        return FeatureRequest(
            dataset=self.dataset,
            data_root=data_root or options.get("data_root", ""),
            features=with_overrides(FeatureConfig(), own),
            results=self.results,
            fold=self.fold,
            for_trials=True,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """A search with its features, and how its final trials are run."""

    search: Search
    store: Path
    """The feature store that the search was made on."""
    catalogue: Catalogue
    """Its images, with their files."""
    tracking_uri: str
    resources: ResourceConfig
    at_once: int
    console: Console
    progress: Callable[[Console], AbstractContextManager[StartProgress]]
    """Shows the progress of the work in a `with` block."""

    @property
    def out(self) -> Path:
        """Folder of what a finalize makes."""
        return self.search.folder / "final"

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def plan(
        self,
        step: str,
        objective: str,
        queue: Sequence[Mapping[str, Any]],
        basis: Mapping[str, Any],
        note: str,
        *,
        fold: int = 1,
    ) -> EnqueuedPlan:
        """Return the plan of a step: a study of enqueued trials beside the search.

        Args:
            step: Name of the step, the last part of the study's name.
            objective: The metric that is a trial's value.
            queue: All settings of each trial.
            basis: What the queue is made from.
            note: What the study is for, in a sentence.
            fold: Fold of the baselines beside it.
        """
        policy = PolicyConfig(sampler="random", pruner="none", objective=objective)  # type: ignore[arg-type]
        return EnqueuedPlan(
            dataset=self.search.dataset,
            base=replace(RunConfig(), fold=fold),
            policy=policy,
            budget=Budget(trials=len(queue), at_once=self.at_once),
            folder=self.search.folder.with_name(f"{self.search.name}-{step}"),
            tracking_uri=self.tracking_uri,
            storage=self.search.storage,
            resources=self.resources,
            data=self.search.study.user_attrs[METADATA]["options"],
            queue=queue,
            basis={"search": self.search.name, **basis},
            note=note,
        )

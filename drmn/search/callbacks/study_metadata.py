"""Metadata of a study, for MLflow: its data, the baselines, the code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drmn.data.splits.development import Development
from drmn.data.store.feature_store import Store
from drmn.evaluation import baselines
from drmn.experiment.train_command import arguments, command
from drmn.search.study.plan import EnqueuedPlan, Plan, StudyPlan
from drmn.tracking import provenance


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyMetadata:
    """Metadata of a study; the record keeps it, so that all can be logged again."""

    experiment: str
    """Name of MLflow's experiment (`experiment_name`)."""
    note: str
    """Text on the study's page."""
    data: str
    """A digest of the images that trials train on and are judged by."""
    profile: Mapping[str, Any]
    """Numbers of images and classes, and the name of the features."""
    lines: Sequence[Mapping[str, Any]]
    """Baselines: `name`, `metrics` and the `levels` that they were fitted on."""
    code: Mapping[str, str]
    """Tags: the git commit."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of `jobs/train.py` that name the data, for the command that trains a trial again."""

    def command(self, run: str, settings: Mapping[str, Any]) -> str:
        """Return the command that trains a trial of these settings again, in a run of this name."""
        return command(arguments({**self.options, "run": run}, settings))


def study_metadata_of(
    plan: Plan, lines: Sequence[baselines.Baseline], store: Store, data: Development
) -> StudyMetadata:
    """Return the metadata of the study of `plan` on the features of `store`."""
    notes = "".join(f"\n- {note}" for note in store.catalogue.notes)
    note = (
        f"{_purpose(plan)}`best/*` is a run's best epoch, `val/*` its curve. {_beaten(lines)}\n\n"
        f"Features `{store.folder.name}`: {len(store.catalogue.images):,} images of "
        f"{len(store.catalogue.classes)} classes, {len(store.catalogue.skipped)} unreadable ones "
        f"skipped.{notes}"
    )
    seen = int(data.classes.seen.sum())
    return StudyMetadata(
        experiment=plan.experiment,
        note=note,
        data=store.key.judged(plan.base.fold),
        profile={
            "features": store.folder.name,
            "training images": len(data.train),
            "validation images of seen classes": len(data.val_seen),
            "validation images of unseen classes": len(data.val_unseen),
            "seen classes": seen,
            "unseen classes": len(data.classes.names) - seen,
        },
        lines=[_line(each) for each in lines],
        code=provenance.tags(),
        options=dict(plan.options),
    )


def _purpose(plan: Plan) -> str:
    if isinstance(plan, EnqueuedPlan):
        return f"{plan.note} The runs below it are its trials. "
    if isinstance(plan, StudyPlan):
        return (
            f"Search of the space `{plan.space}` on `{plan.dataset}` by {plan.policy.sampler}, for "
            f"{plan.policy.objective} on validation classes. The runs below it are its trials. "
        )
    return f"Training at fixed settings on `{plan.dataset}`, judged on validation classes. "


def _beaten(lines: Sequence[baselines.Baseline]) -> str:
    if not lines:
        return ""
    found = {each.name: 100 * each.metrics["val/H"] for each in lines}
    beaten = " and ".join(f"{name} has H {value:.1f} %" for name, value in found.items())
    best = baselines.strongest(lines).name
    return f"On the same features and split {beaten}: {best} is the line to beat."


def _line(line: baselines.Baseline) -> dict[str, Any]:
    chosen = {"levels": line.levels, "candidates": line.candidates, **line.settings}
    return {"name": line.name, "metrics": dict(line.metrics), "params": chosen}

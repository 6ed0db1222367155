"""A search, all put together: record, policy, Ray, MLflow's spool, progress."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from drmn import baselines
from drmn.checkpoint import BEST
from drmn.config import RunConfig, flatten, require
from drmn.data import development, features
from drmn.data.catalogue import Catalogue
from drmn.data.development import Development
from drmn.data.features import Store
from drmn.errors import ConfigError
from drmn.search import code, health, heritage, packing
from drmn.search import lines as kept
from drmn.search.budget import Purse
from drmn.search.claim import claimed
from drmn.search.folders import trial_folder
from drmn.search.outcome import Outcome
from drmn.search.postgres import address
from drmn.search.progress import Progress
from drmn.search.quota import Quota, ranking
from drmn.search.reporting import About, Reporter, drain
from drmn.search.rows import Metrics, Row
from drmn.search.settings import Budget, EngineConfig, PolicyConfig, require_name, require_store
from drmn.search.storage import held, open_study
from drmn.search.study import Point, Record
from drmn.space import load, source
from drmn.tracking import provenance
from drmn.tracking.ship import ShipperProcess, absolute
from drmn.tracking.spool import open_spool


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
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
    engine: EngineConfig = field(default_factory=EngineConfig)
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
            address(self.storage)

    def identity(self, store: Path) -> Mapping[str, Any]:
        """Return all that must stay as it is while the study on `store` goes on."""
        text = source(self.space).read_bytes()
        return {
            "data": store.name,
            "space": Path(self.space).stem,
            "space_digest": hashlib.sha256(text).hexdigest()[:16],
            "code": code.digest(),
            "fork": self.fork,
            "warm_start": self.warm_start,
            **flatten(self.policy, "policy."),
            **flatten(self.base, "base."),
        }


class Artist(Protocol):
    """Draws the figures of a study while it goes on; it watches trials as others do."""

    def started(self, point: Point) -> None:
        """Hear of a trial that starts."""

    def epoch(self, number: int, epoch: int, metrics: Metrics) -> None:
        """Hear of an epoch."""

    def ended(self, row: Row) -> None:
        """Hear of a trial's end."""

    def finish(self) -> None:
        """Draw all, for the last time."""


def search(
    plan: Plan, store: Path, console: Console, catalogue: Catalogue, artist: Artist
) -> Outcome:
    """Run the study of `plan` on the feature store until its budget is spent.

    Begins where the study's record stands. The catalogue knows where the photos lie: for trials
    that train the backbone along, and for the picture of where the best network looks.

    Raises:
        UserError: The study is held by another process or was made with other settings.
    """
    if plan.policy.finetune and not packing.takes_photos(store):
        raise ConfigError(
            f"--policy.finetune {plan.policy.finetune}: these features came from a file, without a "
            "backbone to train along; leave it out."
        )
    with held(plan.folder, plan.name), claimed(plan.storage, plan.name) as claim:
        identity = plan.identity(store)
        study = open_study(plan.folder, plan.name, identity, claim)
        heritage.begin(
            study,
            plan.folder.parent,
            fork=plan.fork,
            warm_start=plan.warm_start,
            url=plan.storage,
        )
        record = Record(study, load(plan.space), plan.base, plan.policy)
        data = development.open_store(store, fold=plan.base.fold)
        lines = kept.lines(data, plan.base.fold, plan.folder.parents[1] / "baselines")
        line = baselines.strongest(lines)
        spool = open_spool(plan.folder / "spool.db")
        shipper = ShipperProcess(spool.path, absolute(plan.tracking_uri))
        reporter = Reporter(spool, plan.name, record)
        reporter.begin(_about(plan, lines, features.read(store), data))
        reporter.replay()
        reporter.goes_on()
        provenance.files(plan.folder)
        purse = Purse(plan.budget, time.monotonic())
        quota = Quota(record, plan.folder, plan.budget.checkpoint_mb, console)
        try:
            with _progress(plan, record, line, console) as progress:
                _execute(
                    plan, (store, catalogue), record, purse, [progress, reporter, quota, artist]
                )
        finally:
            reporter.over(purse.empty(record.rows()))
        best = record.best()
        if best is not None and packing.takes_photos(store):
            first, *_ = packing.pack_best(plan.folder, _models(plan, record), data, store)
            title = f"Study {plan.name}, trial {best.number}: where the network looks"
            picture = packing.picture(first, title, data, store, catalogue.places())
            packing.curve(first, f"Study {plan.name}, trial {best.number}: validation", data)
            if picture is not None:
                console.print(
                    f"Where trial {best.number} looks: {picture}", soft_wrap=True, highlight=False
                )
        elif best is not None:
            _unpacked(plan, best, console)
        outcome = Outcome(
            study=plan.name,
            data=data.digest,
            best=best,
            ended=purse.empty(record.rows()),
            lines={each.name: each.metrics for each in lines},
            rows=record.rows(),
            objective=plan.policy.objective,
            second=plan.policy.second,
            notes=health.notes(best, record.rows(), record.trials(), plan.policy.first_rung),
        )
        reporter.outcome(outcome)
        artist.finish()
        reporter.files(plan.folder)
        drain(shipper, spool, plan.tracking_uri, console)
        reporter.note_runs()
        return outcome


def _progress(plan: Plan, record: Record, line: baselines.Baseline, console: Console) -> Progress:
    return Progress(
        console,
        plan.name,
        plan.budget.trials + plan.policy.finetune,
        plan.policy.objective,
        line.name,
        line.metrics["val/H"],
        earlier=record.rows(),
    )


def _unpacked(plan: Plan, best: Row, console: Console) -> None:
    console.print(
        "The features came from a file, without a backbone, so there is no model that takes photos;"
        f" the best trial's weights are in {trial_folder(plan.folder, best.number) / BEST}.",
        soft_wrap=True,
        highlight=False,
    )


def _models(plan: Plan, record: Record) -> list[Row]:
    """Return the trials whose networks go to MLflow, the best first."""
    rows = [row for row in ranking(record.rows()) if row.state == "COMPLETE" and not row.dropped]
    return rows[: plan.budget.models]


def _about(
    plan: Plan, lines: Sequence[baselines.Baseline], store: Store, data: Development
) -> About:
    beaten = " and ".join(
        f"{line.name} has H {100 * line.metrics['val/H']:.1f} %" for line in lines
    )
    notes = "".join(f"\n- {note}" for note in store.catalogue.notes)
    note = (
        f"Search of the space `{plan.space}` on `{plan.dataset}` by {plan.policy.sampler}, for "
        f"{plan.policy.objective} on validation classes. The runs below it are its trials. "
        f"`best/*` is a run's best epoch, `val/*` its curve. On the same features and split "
        f"{beaten}: {baselines.strongest(lines).name} is the line to beat.\n\n"
        f"Features `{store.folder.name}`: {len(store.catalogue.images):,} development images of "
        f"{len(store.catalogue.classes)} classes, {len(store.catalogue.skipped)} unreadable ones "
        f"skipped.{notes}"
    )
    seen = int(data.classes.seen.sum())
    return About(
        experiment=plan.dataset,
        note=note,
        data=f"{store.key.catalogue}-fold{plan.base.fold}",
        profile={
            "features": store.folder.name,
            "training images": len(data.train),
            "validation images of seen classes": len(data.val_seen),
            "validation images of unseen classes": len(data.val_unseen),
            "seen classes": seen,
            "unseen classes": len(data.classes.names) - seen,
        },
        lines=[
            {"name": each.name, "metrics": dict(each.metrics), "levels": each.levels}
            for each in lines
        ],
        code=provenance.tags(),
    )


def _execute(
    plan: Plan,
    images: tuple[Path, Catalogue],
    record: Record,
    purse: Purse,
    watchers: list[Any],
) -> None:
    rows = record.rows()
    more = record.waiting and not purse.overspent(rows)
    if purse.empty(rows) and not record.interrupted and not more:
        return
    from drmn.search.cluster import cluster  # noqa: PLC0415 - Ray takes seconds to import
    from drmn.search.executor import Work, execute  # noqa: PLC0415

    work = Work(
        store=images[0].absolute(),
        catalogue=images[1],
        folder=plan.folder.absolute(),
        may_start=lambda: not purse.empty(record.rows()),
        may_go_on=lambda: not purse.overspent(record.rows()),
        engine=plan.engine,
        at_once=plan.budget.at_once or plan.policy.window,
        watchers=watchers,
    )
    with cluster():
        execute(record, work)

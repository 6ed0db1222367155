"""The events of a search, put into the spool for MLflow."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from drmn.experiment.study_layout import REPORT, STACKS
from drmn.experiment.trial_checkpoints import (
    CURVE,
    FIGURES,
    PACKAGE,
    PICTURE,
    PICTURES,
    snapshot_path,
    trial_folder,
)
from drmn.metric_names import Metrics, best_of
from drmn.search.analysis.result import SearchResult
from drmn.search.callbacks.base import Callback
from drmn.search.callbacks.study_metadata import StudyMetadata
from drmn.search.callbacks.trial_models import TrialModel, trial_models
from drmn.search.study.read_only import StudyView
from drmn.search.study_totals import StudyTotals
from drmn.search.trial_summary import (
    ENDED,
    FINAL,
    METADATA,
    MODELS,
    RANKED,
    RUNS,
    STARTED,
    TrialSpec,
    TrialSummary,
    epochs,
    ranking,
    summarize,
    times,
)
from drmn.tracking import events, provenance
from drmn.tracking.spool import Spool


class MlflowLogger(Callback):
    """Puts the events of a study into a spool: MLflow shows a run a trial, below the study's.

    MLflow's runs are found by the record's key: two studies may have one name. Times are the
    record's, so all that it holds can be sent again, from any machine, and nothing is there twice.

    Args:
        spool: Where events wait for the shipper.
        folder: Folder of the study.
        record: Record of the study.
    """

    def __init__(self, spool: Spool, folder: Path, record: StudyView) -> None:
        self.spool, self.folder, self.record = spool, folder, record
        self.name = folder.name
        self.key: str = record.study.user_attrs["key"]
        self.started: float = record.study.user_attrs[STARTED]
        self.totals = StudyTotals()
        self._first: dict[str, int] = {}
        """The first trial of each point."""

    @cached_property
    def _about(self) -> StudyMetadata:
        """Return the study's metadata; cached, as each read of the record is a query."""
        return StudyMetadata(**self.record.study.user_attrs[METADATA])

    def on_study_start(self, about: StudyMetadata) -> None:
        """Log the study itself, and the baselines that its trials must beat."""
        plain = asdict(about)
        if self.record.study.user_attrs.get(METADATA) != plain:
            self.record.study.set_user_attr(METADATA, plain)
        named = (self.name, about.experiment, *self._study())
        self.spool.put(*events.study(self.key, *named, at=self.started))
        note = about.note + self.record.study.user_attrs.get(FINAL, "")
        self.spool.put(*events.tags(self.key, {"mlflow.note.content": note, **about.code}))
        self._data(self.key)
        self._baselines(about.lines)

    def _study(self) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Return parameters and tags of the study's own run."""
        return self.record.study.user_attrs["identity"], {"kind": "study", "study": self.name}

    def _baselines(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Log the baselines: a run each, beside the trials."""
        for line in lines:
            self._line(line["name"], line["metrics"], line["params"])

    def _data(self, run: str) -> None:
        about = self._about
        used = (about.experiment, about.data, about.profile, "training and validation")
        self.spool.put(*events.data(run, *used))

    def _line(self, name: str, metrics: Metrics, params: Mapping[str, Any]) -> None:
        tags = {"kind": "baseline", "study": self.name, "state": "COMPLETE"}
        run, title, at = f"{self.key}/{name.lower()}", f"{name} (baseline)", self.started
        self.spool.put(*events.child(self.key, run, title, params, tags, at=at))
        self.spool.put(*events.metrics(run, best_of(metrics), 0, at))
        self.spool.put(*events.end(run, {}, at=at))

    def on_resume(self) -> None:
        """Log that trials run."""
        self.spool.put(*events.goes_on(self.key))

    def replay(self) -> None:
        """Log all that the record holds; events that were logged before are skipped."""
        rows = []
        with self.spool.together():
            for trial in self.record.trials():
                row, at = summarize(trial), times(trial)
                self._start(row)
                for epoch, metrics in sorted(epochs(trial).items()):
                    run = self._run(row.number)
                    self.spool.put(*events.metrics(run, metrics, epoch, at[epoch]))
                if row.state != "RUNNING":
                    self._end(row)
                    rows.append(row)
            self.totals = StudyTotals()
            for row in sorted(rows, key=lambda row: (row.ended, row.number)):
                self._stands(row)

    def on_trial_start(self, point: TrialSpec) -> None:
        """Log that a trial starts."""
        self._start(self.record.trial_summary(point.number))

    def _start(self, row: TrialSummary) -> None:
        """Log a trial; one that repeats an earlier one's settings is nested below that."""
        point = json.dumps(row.params or dict(row.settings), sort_keys=True)
        of = self._first.setdefault(point, row.number) if row.again is None else row.again
        name, parent = f"{self.name}/{row.number:03d}", self.key
        tags = {key: str(row.settings[key]) for key in ("tier", "fold", "seed")}
        tags |= {"kind": "trial", "study": self.name, "state": "RUNNING"}
        if of != row.number:
            parent, tags["repeats"] = self._run(of), f"{self.name}/{of:03d}"
            name += f" (again {of:03d})"
        run = self._run(row.number)
        self.spool.put(*events.child(parent, run, name, row.started_with, tags, at=row.started))
        self._data(run)

    def on_epoch_end(self, number: int, epoch: int, metrics: Metrics) -> None:
        """Log an epoch's metrics, and its picture if there is one."""
        at = times(self.record.trial(number)).get(epoch, 0.0)
        self.spool.put(*events.metrics(self._run(number), metrics, epoch, at))
        drawn = snapshot_path(trial_folder(self.folder, number), epoch)
        if drawn.is_file():
            self.spool.put(*events.artifact(self._run(number), drawn, PICTURES))

    def on_trial_end(self, row: TrialSummary) -> None:
        """Log a trial's end, and the study's totals."""
        self._end(row)
        self._stands(row)

    def _stands(self, row: TrialSummary) -> None:
        self.totals.add(row)
        found, step = self.totals.metrics(), self.totals.finished
        self.spool.put(*events.metrics(self.key, found, step, row.ended))

    def _end(self, row: TrialSummary) -> None:
        """Log a trial's end; a pruned one is FINISHED, for KILLED looks like a failure."""
        self._best(row)
        run, tags = self._run(row.number), self._trial_tags(row)
        self.spool.put(*events.end(run, tags, failed=row.state == "FAIL", at=row.ended))

    def _best(self, row: TrialSummary) -> None:
        """Log the metrics of a trial's best epoch."""
        found = best_of(row.metrics) | {"spent/worker_seconds": row.seconds}
        key, event = events.metrics(self._run(row.number), found, row.best_epoch, row.ended)
        self.spool.put(f"{key}#best", event)

    def _trial_tags(self, row: TrialSummary) -> dict[str, str]:
        """Return the tags of a trial that is over."""
        tags = {"state": row.state, "best_epoch": str(row.best_epoch)} | self._command(row)
        tags |= row.loss_tags
        return tags | ({"cause": row.cause} if row.cause else {})

    def _command(self, row: TrialSummary) -> dict[str, str]:
        """Return the tag with the command that trains a trial again."""
        command = self._about.command(self._model_name(row.number), row.settings)
        return {events.COMMAND: command}

    def files(self, models: events.Keyed | None = None) -> None:
        """Log the files of the study's folder: pictures, provenance, the trials' packages.

        `models` is the event of the models where they are not the trials' packages; the record
        keeps it, so it can be sent again.
        """
        places = (provenance.PROVENANCE, "*.*"), (FIGURES, "*.*"), (REPORT.parent, REPORT.name)
        for place, names in places:
            for path in sorted((self.folder / place).glob(names)):
                self.spool.put(*events.artifact(self.key, path, str(place)))
        for row in self.record.trial_summaries():
            folder = trial_folder(self.folder, row.number)
            drawn = [folder / name for name in (PICTURE, CURVE) if row.state in RANKED]
            stacks = [(path, "stacks") for path in sorted(folder.glob(STACKS))]
            pictures = (*drawn, *sorted((folder / PICTURES).glob("*.png")))
            for path, place in (*stacks, *((p, PICTURES) for p in pictures if p.is_file())):
                self.spool.put(*events.artifact(self._run(row.number), path, place))
        if models:
            self.record.study.set_user_attr(MODELS, models)
        if kept := self.record.study.user_attrs.get(MODELS):
            self.spool.put(*kept)
            return
        packed = [self._model(row) for row in ranking(self.record.trial_summaries())]
        if found := [model for model in packed if model.folder.is_dir()]:
            self.spool.put(*trial_models(self.key, found, self._about))

    def _model(self, row: TrialSummary) -> TrialModel:
        package = trial_folder(self.folder, row.number) / PACKAGE
        return TrialModel(row, self._run(row.number), self._model_name(row.number), package)

    def outcome(self, outcome: SearchResult) -> None:
        """Log the Pareto front and the gain of fine-tuning, on the study's page."""
        if outcome.pareto_front:
            numbers = ", ".join(str(row.number) for row in outcome.pareto_front)
            self.spool.put(*events.tags(self.key, {"front": numbers}))
        tiers = outcome.tiers
        if tiers is not None:
            found = {"tiers/gain": tiers.gain, "tiers/trials": float(tiers.trials)}
            if tiers.rank_correlation is not None:
                found["tiers/rank_correlation"] = tiers.rank_correlation
            at = max(row.ended for row in outcome.rows)
            key, event = events.metrics(self.key, found, len(outcome.rows), at)
            self.spool.put(f"{key}#tiers", event)

    def on_search_end(self, why: str, *, failed: bool = False) -> None:
        """Log that the search ends, for now, and why: a later start may resume the study."""
        if self.record.study.user_attrs.get(ENDED) != why:
            self.record.study.set_user_attr(ENDED, why)
        self.spool.put(*events.end(self.key, self._end_tags(why), failed=failed))

    def _end_tags(self, why: str) -> dict[str, str]:
        if (best := self.record.best()) is None:
            return {"ended": why}
        return {"ended": why, "best_trial": str(best.number)} | self._command(best)

    def note_runs(self) -> None:
        """Write MLflow's run ids into the record, as far as they are known."""
        runs = self.spool.runs()
        if runs and runs != self.record.study.user_attrs.get(RUNS):
            self.record.study.set_user_attr(RUNS, runs)

    def _model_name(self, number: int) -> str:
        return f"{self.name}-{number:03d}"

    def _run(self, number: int) -> str:
        return f"{self.key}/{number:04d}"

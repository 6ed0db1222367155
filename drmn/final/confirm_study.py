"""The study that confirms a winner: candidates on blocks, as far as the verdict needs them."""

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drmn.errors import StudyError
from drmn.final.config import ConfirmConfig
from drmn.final.confirm import SELECTION, Values, Verdict, interval, judge
from drmn.final.context import Context
from drmn.final.run_queue import Queue, Trained, over, run_queue
from drmn.metric_names import Metrics
from drmn.search.analysis.candidates import Candidate, find_candidates
from drmn.search.storage.studies import load_study, study_names
from drmn.search.study.plan import EnqueuedPlan
from drmn.search.trial_summary import TrialSummary, summarize_all

FIRST_SEED = 1_000
"""Seed of block 1: the search's own seeds are below."""
NOTE = (
    "Confirmation of a search: its best settings, compared on random divisions of the classes "
    "that no choice of the search was made on."
)
Place = tuple[int, int]
"""A candidate and a block."""


@dataclass(frozen=True, slots=True, eq=False)
class Confirmation:
    """Candidates on their blocks, and what follows."""

    candidates: Sequence[Candidate]
    verdict: Verdict
    values: Values
    curves: Mapping[Place, Mapping[int, Metrics]]
    """The metrics of each epoch of each candidate on each block."""
    best_epochs: Mapping[Place, int]
    failed: Mapping[int, str]
    """Candidates with a failed trial, and its cause: they are out."""

    @property
    def winner(self) -> int:
        """The candidate to refit: the cheapest of those that are not beaten."""
        return min(self.verdict.unbeaten, key=lambda c: (self.candidates[c].epoch_seconds, c))

    def blocks(self, candidate: int) -> list[int]:
        """Return the fresh blocks of a candidate."""
        return list(range(SELECTION + 1, len(self.values[candidate]) + 1))

    def fresh(self, candidate: int) -> list[float]:
        """Return the objective on the fresh blocks; on the first two if there are no others."""
        values = list(self.values[candidate])
        return values[SELECTION:] or values

    def epochs(self, candidate: int, without: int = 0) -> int:
        """Return the median of the blocks' best epochs, one of them left out if `without` says."""
        found = [e for (c, b), e in self.best_epochs.items() if c == candidate and b != without]
        return int(statistics.median_low(sorted(found)))

    def carried(self, candidate: int, names: Sequence[str]) -> list[dict[str, float]]:
        """Return metrics of each block at an epoch that the other blocks chose."""
        rows = []
        for (c, block), curve in sorted(self.curves.items()):
            if c == candidate:
                epoch = min(self.epochs(candidate, without=block), max(curve))
                rows.append({name: curve[epoch][name] for name in names})
        return rows

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        low, high = interval(self.fresh(self.winner))
        honest = self.carried(self.winner, [f"val/{n}_carried" for n in "USH"])
        return {
            "winner": self.candidates[self.winner].trial,
            "clear": self.verdict.clear,
            "tied": [self.candidates[c].trial for c in self.verdict.unbeaten],
            "leader": self.candidates[self.verdict.leader or 0].trial,
            "value": statistics.mean(self.fresh(self.winner)),
            "interval": [low, high],
            "search_value": self.candidates[self.winner].found,
            "fresh_blocks": len(self.blocks(self.winner)),
            "estimate": {
                name: statistics.mean(row[f"val/{name}_carried"] for row in honest)
                for name in "USH"
            },
            "candidates": [
                {
                    "trial": each.trial,
                    "expected": each.expected,
                    "search_value": each.found,
                    "epoch_seconds": each.epoch_seconds,
                    "blocks": list(self.values.get(number, ())),
                    "failed": self.failed.get(number, ""),
                }
                for number, each in enumerate(self.candidates)
            ],
            "rivals": [
                asdict(rival) | {"candidate": self.candidates[rival.candidate].trial}
                for rival in self.verdict.rivals
            ],
        }


def confirm(context: Context, config: ConfirmConfig) -> Confirmation:
    """Train candidates on blocks until the verdict needs no more; resumes from its own record.

    Raises:
        UserError: Another process runs it, or each candidate failed.
    """
    candidates = find_candidates(context.search.study, config.candidates)
    expected = {number: each.expected for number, each in enumerate(candidates)}
    queue: list[Place] = []
    first = _plan(context, candidates, [(0, 1)])  # the queue is no part of the identity
    trained = _recorded(first, context.store)
    while True:
        rows = dict(zip(queue, (row for row, _ in trained), strict=False))
        failed = {c: row.cause for (c, _), row in rows.items() if row.state == "FAIL"}
        values = _values(rows, [c for c in expected if c not in failed])
        if not values:
            raise StudyError(f"Each candidate failed: {'; '.join(failed.values())}.")
        verdict = judge(values, expected, config.blocks)
        if not verdict.need:
            curves = dict(zip(queue, (curve for _, curve in trained), strict=False))
            best = {place: row.best_epoch for place, row in rows.items()}
            return Confirmation(candidates, verdict, values, curves, best, failed)
        have = set(queue)
        blocks = range(1, verdict.need + 1)
        queue += [(c, b) for b in blocks for c in verdict.alive if (c, b) not in have]
        if len(trained) < len(queue):
            trained = _train(context, candidates, queue)


def _values(rows: Mapping[Place, TrialSummary], alive: Sequence[int]) -> Values:
    found: dict[int, list[float]] = {c: [] for c in alive}
    for (candidate, _), row in rows.items():  # blocks in rising order
        if candidate in found:
            found[candidate].append(row.value or 0.0)
    return found


def _plan(
    context: Context, candidates: Sequence[Candidate], queue: Sequence[Place]
) -> EnqueuedPlan:
    trials = [each.trial for each in candidates]
    # A search that went on may have other candidates: that is another confirmation.
    step = f"confirm-{hashlib.sha256(json.dumps(trials).encode()).hexdigest()[:8]}"
    return context.plan(
        step,
        context.search.objective,
        [settings_on(candidates[c], block) for c, block in queue],
        {"candidates": trials},
        NOTE,
        fold=context.search.fold,
    )


def _recorded(plan: EnqueuedPlan, store: Path) -> list[Trained]:
    """Return the trials that the record has, up to the first that is not over.

    None of a record that was made otherwise: opening it to train says what differs.
    """
    studies = plan.folder.parent
    if plan.name not in study_names(studies, plan.storage):
        return []
    study = load_study(studies, plan.name, plan.storage)
    if study.user_attrs.get("identity") != json.loads(json.dumps(plan.identity(store))):
        return []
    return over(summarize_all(study), study.get_trials(deepcopy=False))


def _train(
    context: Context, candidates: Sequence[Candidate], queue: Sequence[Place]
) -> list[Trained]:
    """Train what is not trained yet; return all trials of the queue."""
    names = [f"block {b}, candidate {c + 1} (trial {candidates[c].trial})" for c, b in queue]
    return run_queue(
        context,
        Queue(
            plan=_plan(context, candidates, queue),
            names=names,
            purpose=f"confirm on {queue[-1][1]} blocks",
            step="The confirmation",
            store=context.store,
            catalogue=context.catalogue,
            objective=context.search.objective,
        ),
    )


def settings_on(candidate: Candidate, block: int) -> dict[str, Any]:
    """Return all settings of a candidate's trial on a block."""
    return {
        **candidate.settings,
        "block": block,
        "seed": FIRST_SEED + block,
        "carried.beta": candidate.beta,
        "carried.kept": candidate.kept,
    }

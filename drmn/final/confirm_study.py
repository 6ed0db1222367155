"""The study that confirms a winner: candidates on blocks, as far as the verdict needs them."""

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from drmn.errors import StudyError
from drmn.final.config import ConfirmConfig
from drmn.final.confirm import SELECTION, Values, Verdict, interval, judge
from drmn.final.context import Context
from drmn.final.queue_lines import QueueLines
from drmn.metric_names import Metrics
from drmn.search.analysis.candidates import Candidate, find_candidates
from drmn.search.session import open_session
from drmn.search.trial_summary import TrialSummary, epochs

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
    rows: list[TrialSummary] = []
    curves: dict[Place, Mapping[int, Metrics]] = {}
    while True:
        failed = {c: r.cause for (c, _), r in zip(queue, rows, strict=True) if r.state == "FAIL"}
        values = _values(queue, rows, [c for c in expected if c not in failed])
        if not values:
            raise StudyError(f"Each candidate failed: {'; '.join(failed.values())}.")
        verdict = judge(values, expected, config.blocks)
        if not verdict.need:
            best = {place: row.best_epoch for place, row in zip(queue, rows, strict=True)}
            return Confirmation(candidates, verdict, values, curves, best, failed)
        have = set(queue)
        blocks = range(1, verdict.need + 1)
        wanted = [(c, b) for b in blocks for c in verdict.alive if (c, b) not in have]
        queue += wanted
        rows, curves = _trained(context, candidates, queue)


def _values(queue: Sequence[Place], rows: Sequence[TrialSummary], alive: Sequence[int]) -> Values:
    found: dict[int, list[float]] = {c: [] for c in alive}
    for (candidate, _), row in zip(queue, rows, strict=True):  # blocks in rising order
        if candidate in found:
            found[candidate].append(row.value or 0.0)
    return found


def _trained(
    context: Context, candidates: Sequence[Candidate], queue: Sequence[Place]
) -> tuple[list[TrialSummary], dict[Place, Mapping[int, Metrics]]]:
    """Train what is not trained yet; return all trials and their epochs."""
    settings = [_settings(candidates[c], block) for c, block in queue]
    trials = [each.trial for each in candidates]
    # A search that went on may have other candidates: that is another confirmation.
    step, basis = f"confirm-{_short(trials)}", {"candidates": trials}
    objective = context.search.objective
    fold = context.search.fold
    plan = context.plan(step, objective, settings, basis, NOTE, fold=fold)
    names = [f"block {b}, candidate {c + 1} (trial {candidates[c].trial})" for c, b in queue]
    with open_session(plan, context.store, context.catalogue, context.console) as session:
        over = [t for t in session.record.trial_summaries() if t.state != "RUNNING"]
        if len(over) < len(queue):
            left = len(queue) - len(over)
            context.say(f"confirm: {left} trials on {queue[-1][1]} blocks")
        session.execute([QueueLines(context.console, names, objective, len(over))])
        rows = session.record.trial_summaries()[: len(queue)]  # a resumed one may have more
        if len(rows) < len(queue) or any(row.state == "RUNNING" for row in rows):
            raise StudyError("The confirmation was stopped; the same command resumes it.")
        session.ship(context.console)
        found = [epochs(session.record.trial(row.number)) for row in rows]
        return rows, dict(zip(queue, found, strict=True))


def _short(trials: Sequence[int]) -> str:
    return hashlib.sha256(json.dumps(trials).encode()).hexdigest()[:8]


def _settings(candidate: Candidate, block: int) -> Mapping[str, Any]:
    return {
        **candidate.settings,
        "block": block,
        "seed": FIRST_SEED + block,
        "carried.beta": candidate.beta,
        "carried.kept": candidate.kept,
    }

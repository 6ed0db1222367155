"""The ablation of a winner: parts of its network removed, on the blocks that confirmed it."""

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drmn.config import RunConfig
from drmn.fields import flatten, with_overrides
from drmn.final.confirm import interval
from drmn.final.confirm_study import Confirmation, settings_on
from drmn.final.context import Context
from drmn.final.run_queue import Queue, Trained, run_queue
from drmn.level_names import parse_levels
from drmn.model.ablations import ABLATIONS, FULL, LABELS, ablated
from drmn.search.analysis.candidates import Candidate
from drmn.search.study.plan import EnqueuedPlan

NOTE = (
    "Ablation of a search's winner: the paper's rows, each with one part of the network removed, "
    "on the blocks that confirmed it."
)
T1 = "val/T1"


@dataclass(frozen=True, slots=True)
class AblationRow:
    """A part of the network removed, beside the whole on the same blocks with the same seeds."""

    name: str
    """Name of the row, as `jobs/train.py --ablation` takes it."""
    label: str
    """What it is, in words."""
    values: Sequence[float] = ()
    """The objective on each block."""
    differences: Sequence[float] = ()
    """The whole network less this one, on each block."""
    t1_differences: Sequence[float] = ()
    """The same of T1."""
    note: str = ""
    """Why there are no figures: the winner has no such part, or a training failed."""

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        found: dict[str, Any] = {"row": self.name, "label": self.label, "note": self.note}
        if not self.note:
            for name, values in (("objective", self.differences), ("T1", self.t1_differences)):
                low, high = interval(values)
                found[name] = {"difference": statistics.mean(values), "interval": [low, high]}
            found |= {"value": statistics.mean(self.values), "blocks": list(self.values)}
        return found


def ablate(context: Context, found: Confirmation) -> list[AblationRow]:
    """Train each row of the paper's table from the winner's settings; resumes from its record.

    Raises:
        UserError: Another process runs it, or it was stopped.
    """
    winner, blocks = found.candidates[found.winner], ablation_blocks(found)
    run = with_overrides(RunConfig(), winner.settings)
    missing = {name: _missing(run, name) for name in ABLATIONS if name != FULL}
    queue = [(name, block) for name, note in missing.items() if not note for block in blocks]
    trained: dict[tuple[str, int], Trained] = {}
    if queue:
        plan = _plan(context, winner, queue)
        names = [f"block {block}, {LABELS[name]}" for name, block in queue]
        made = run_queue(
            context,
            Queue(
                plan=plan,
                names=names,
                purpose="ablation of the winner",
                step="The ablation",
                store=context.store,
                catalogue=context.catalogue,
                objective=context.search.objective,
            ),
        )
        trained = dict(zip(queue, made, strict=True))
    return [_row(found, blocks, name, missing[name], trained) for name in missing]


def ablation_blocks(found: Confirmation) -> list[int]:
    """Return the blocks of an ablation: the winner's fresh ones, or all if it has none."""
    return found.blocks(found.winner) or list(range(1, len(found.values[found.winner]) + 1))


def _missing(run: RunConfig, name: str) -> str:
    """Return why a row is no other network than the winner's; empty if it is one."""
    one_level = name == "no-fusion" and len(parse_levels(run.model.levels)) == 1
    if one_level or flatten(ablated(run, name)) == flatten(run):
        return "the winner has no such part"
    return ""


def _plan(context: Context, winner: Candidate, queue: Sequence[tuple[str, int]]) -> EnqueuedPlan:
    digest = hashlib.sha256(json.dumps([winner.trial, queue]).encode()).hexdigest()[:8]
    return context.plan(
        f"ablate-{digest}",
        context.search.objective,
        [settings_on(winner, block) | dict(ABLATIONS[name]) for name, block in queue],
        {"winner": winner.trial, "rows": [list(each) for each in queue]},
        NOTE,
        fold=context.search.fold,
    )


def _row(
    found: Confirmation,
    blocks: Sequence[int],
    name: str,
    missing: str,
    trained: Mapping[tuple[str, int], Trained],
) -> AblationRow:
    label = LABELS[name]
    if missing:
        return AblationRow(name, label, note=missing)
    rows = [trained[name, block][0] for block in blocks]
    causes = [row.cause for row in rows if row.state == "FAIL"]
    if causes:
        return AblationRow(name, label, note=f"a training failed: {causes[0]}")
    whole = [found.values[found.winner][block - 1] for block in blocks]
    t1 = [_t1(found, block) for block in blocks]
    values = [row.value or 0.0 for row in rows]
    return AblationRow(
        name,
        label,
        values,
        [one - other for one, other in zip(whole, values, strict=True)],
        [one - row.metrics[T1] for one, row in zip(t1, rows, strict=True)],
    )


def _t1(found: Confirmation, block: int) -> float:
    """Return T1 of the winner on a block, at the epoch of its best objective."""
    place = (found.winner, block)
    return found.curves[place][found.best_epochs[place]][T1]

"""Quota of the trials' checkpoints on the disk: `--budget.checkpoint-mb`."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from rich.console import Console

from drmn.experiment.trial_checkpoints import drop_best, trial_folder
from drmn.search.callbacks.base import Callback
from drmn.search.study.record import StudyRecord
from drmn.search.trial_summary import TrialSummary, checkpoint_ranking
from drmn.units import MEGABYTE


class CheckpointQuota(Callback):
    """Drops, at each trial's end, the checkpoints that exceed the limit, the best kept first.

    Args:
        record: Records which were dropped, so that nothing reads these any more.
        study: The study's folder.
        megabytes: Limit for all trials together; 0 for no limit.
        console: Where it prints that even the best one is too large.
    """

    def __init__(
        self, record: StudyRecord, study: Path, megabytes: float, console: Console
    ) -> None:
        self.record, self.study, self.megabytes = record, study, megabytes
        self.console, self.warned = console, False
        for number in record.dropped:  # the driver may have died before the file was gone
            drop_best(trial_folder(study, number))
        self.enforce()

    def on_trial_end(self, row: TrialSummary) -> None:
        """Rank all trials again: this one may be among the best."""
        del row
        self.enforce()

    def enforce(self) -> None:
        """Drop the checkpoints that exceed the limit."""
        if not self.megabytes:
            return
        ranked = checkpoint_ranking(self.record.trial_summaries())
        over = [row for row in beyond(ranked, self.megabytes * MEGABYTE) if not row.dropped]
        if over:
            self.record.drop([row.number for row in over])
        for row in over:
            drop_best(trial_folder(self.study, row.number))
        if ranked:
            self._warn(ranked[0])

    def _warn(self, best: TrialSummary) -> None:
        taken = best.checkpoint["bytes"] / MEGABYTE
        if taken <= self.megabytes or self.warned:
            return
        self.warned = True
        self.console.print(
            f"note: the best checkpoint, of trial {best.number}, takes {taken:.1f} MB, more than "
            f"--budget.checkpoint-mb {self.megabytes:g}; it is kept.",
            highlight=False,
            soft_wrap=True,
        )


def beyond(ranked: Sequence[TrialSummary], limit: float) -> list[TrialSummary]:
    """Return the trials that, with all better ones, take more bytes than `limit`; never the first.

    So those that are kept are the best of the study, without gaps.
    """
    totals = accumulate(row.checkpoint["bytes"] for row in ranked)
    return [
        row for row, total in zip(ranked, totals, strict=True) if total > limit and row != ranked[0]
    ]

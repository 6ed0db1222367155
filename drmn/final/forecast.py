"""A forecast of a finalize: its trainings, and about how long they take."""

from typing import Any

from rich.console import Console

from drmn.config import THIRDS
from drmn.final.config import ConfirmConfig, RefitConfig
from drmn.final.confirm import SELECTION
from drmn.final.context import Search
from drmn.search.analysis.candidates import find_candidates
from drmn.units import duration


def forecast(
    search: Search, confirming: ConfirmConfig, refitting: RefitConfig, console: Console
) -> dict[str, Any]:
    """Print and return the trainings of a finalize, from the epochs that the search measured.

    At most: rivals that are clearly behind are dropped early, and a clear first look ends it.
    """
    found = find_candidates(search.study, confirming.candidates)
    blocks = SELECTION + confirming.blocks
    seconds = sum(blocks * each.settings["optim.epochs"] * each.epoch_seconds for each in found)
    count = refitting.seeds + THIRDS
    slowest = max(each.settings["optim.epochs"] * each.epoch_seconds for each in found)
    # All of trainval in place of a fold's training classes: half as many images again.
    refit = 1.5 * count * slowest
    console.print(
        f"confirm: at most {len(found)} candidates on {blocks} blocks, "
        f"{duration(seconds)} of worker time\n"
        f"refit: {count} trainings on trainval, {duration(refit)} of worker time at most\n"
        "then the test split is opened once",
        highlight=False,
    )
    for number, each in enumerate(found, 1):
        console.print(
            f"candidate {number}: trial {each.trial}, {search.objective} found "
            f"{100 * each.found:.1f}, expected {100 * each.expected:.1f}",
            highlight=False,
        )
    return {
        "confirm": {"trials": len(found) * blocks, "worker_seconds": seconds},
        "refit": {"trials": count, "worker_seconds": refit},
        "candidates": [each.trial for each in found],
    }

"""Files of a study's folder that no process needs any more; its driver, which has the lock, sweeps.

A process that is killed leaves what it would have removed, and a damaged file is put aside.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from drmn.experiment.study_layout import HEARTBEATS, RAY, ROOM
from drmn.experiment.trial_checkpoints import drop_last, trial_folder


def sweep(study: Path, ended: Iterable[int], *, damaged_too: bool = True) -> int:
    """Remove such files; return how many damaged ones were among them.

    Args:
        study: Folder of a study or run, locked by this process, which runs no trial now.
        ended: Trials that no process resumes. Files of others stay.
        damaged_too: Whether to remove damaged files that were put aside.
    """
    (study / ROOM).unlink(missing_ok=True)
    shutil.rmtree(study / RAY, ignore_errors=True)
    damaged = 0
    for folder in (trial_folder(study, number) for number in ended):
        drop_last(folder)
        found = list(folder.glob("*.damaged")) if damaged_too else []
        damaged += len(found)
        for path in (*found, *folder.glob("*.tmp"), *folder.glob(HEARTBEATS)):
            path.unlink(missing_ok=True)
    return damaged

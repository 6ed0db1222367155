"""The files that a study keeps, compared with the digests that were written with them."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from drmn.experiment.trial_checkpoints import trial_folder
from drmn.io.content import digest_of, noted_below
from drmn.search.trial_summary import TrialSummary
from drmn.training.checkpoint import BEST, LAST, is_whole, sha256_of

DATABASES = ("record.db", "spool.db")


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that was compared with its digest."""

    file: str
    """Its path below the study's folder."""
    problem: str
    """What is wrong with it, and the remedy; empty if it is whole."""


def verify(study: Path, rows: Sequence[TrialSummary], *, driven: bool = False) -> list[Checked]:
    """Compare databases, checkpoints, packages and figures of a study with their digests.

    Nothing is changed.

    Args:
        study: The study's folder.
        rows: Its trials.
        driven: Whether a driver is at work: then packages and figures, which it makes again at any
            time, are not compared.
    """
    found = [(study / name, _of_database(study / name)) for name in DATABASES]
    found = [(file, problem) for file, problem in found if file.exists()]
    for row in rows:
        found += _of_trial(study, row)
    for file, digest in {} if driven else noted_below(study).items():
        now = digest_of(file)
        state = "" if now == digest else f"{'damaged' if now else 'gone'}; "
        found.append((file, state and f"{state}the study's command makes it again if it is needed"))
    return [Checked(str(file.relative_to(study)), problem) for file, problem in found]


def _of_database(file: Path) -> str:
    """Return what is wrong with a SQLite file."""
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as opened:
            ((said, *_), *_) = opened.execute("PRAGMA integrity_check(1)")
    except sqlite3.DatabaseError as problem:
        said = str(problem)
    return "" if said == "ok" else f"damaged: {said}; put a copy back"


def _of_trial(study: Path, row: TrialSummary) -> Iterator[tuple[Path, str]]:
    """Return the checkpoints that a trial should have, and what is wrong with each."""
    best, last = (trial_folder(study, row.number) / name for name in (BEST, LAST))
    if row.state == "RUNNING":
        state = _compared(last)
        if state != "gone":  # it has none before its first epoch ends
            yield last, state and f"{state}; the trial will start again"
    elif row.checkpoint and not row.dropped:
        state = _compared(best, row.checkpoint["sha256"])
        again = f"put a copy back, or python jobs/train.py --from {study.name}/{row.number}"
        yield best, state and f"{state}; {again}"


def _compared(file: Path, sha256: str = "") -> str:
    """Return whether a checkpoint is damaged, gone, or not the one of this SHA-256."""
    try:
        if not is_whole(file):
            return "damaged"
        return "" if sha256 in ("", sha256_of(file)) else "not the one that the record names"
    except FileNotFoundError:
        return "gone"

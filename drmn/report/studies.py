"""Studies on the terminal: a table of all, the status of one, replay, and stopping one."""

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from drmn.errors import StudyError
from drmn.experiment.lock import locked_by
from drmn.report.say import say
from drmn.search.storage.names import kind_of
from drmn.search.storage.studies import driver_of, read_study, study_names
from drmn.search.study_totals import StudyTotals
from drmn.search.trial_summary import HUNG, LOST, MEMORY, MOVED, summarize_all
from drmn.space import load, source
from drmn.units import duration

LOSS_WORDS = {
    MOVED: "with its machine",
    LOST: "alone",
    HUNG: "as it made no step",
    MEMORY: "for want of memory",
}
"""Ways in which a trial loses its process, in words."""
STOP_TIMEOUT_S = 180.0
"""Seconds that a driver is given to end."""


def show(console: Console, studies: Path, url: str = "", only: str = "") -> list[dict[str, Any]]:
    """Print a row per study of a folder, or of the database at `url`; of `only` one if it is named.

    Returns the same as JSON has it.
    """
    table = Table(box=None, pad_edge=False)
    for column in ("study", "trials", "best", "epochs", "worker time", "driver"):
        table.add_column(column, justify="left" if column in ("study", "driver") else "right")
    found = []
    for name in [only] if only else study_names(studies, url):
        used = StudyTotals(summarize_all(read_study(studies, name, url)))
        time, who = duration(3600 * used.worker_hours), driver_of(studies / name, url)
        cells = name, str(used.trials), _best(used), str(used.epochs), time, who or "none"
        table.add_row(*cells)
        found.append({"study": name, **_plain(used), "driver": who})
    console.print(table)
    return found


def status(console: Console, studies: Path, name: str, url: str = "") -> dict[str, Any]:
    """Print the status of one study or run: its trials by state, running and failed ones.

    Returns the same as JSON has it.
    """
    rows, who = summarize_all(read_study(studies, name, url)), driver_of(studies / name, url)
    totals = StudyTotals(rows)
    counts = totals.counts or "none"
    say(console, f"{kind_of(studies / name)} {name}: trials: {counts}; best {_best(totals)}")
    say(console, f"spent: {totals}")
    say(console, f"driver: {who or 'none'}")
    for row in rows:
        if row.state == "RUNNING":
            left = "" if who else "; resumes with the next start"
            say(console, f"trial {row.number}: at epoch {row.epochs}{left}")
        elif row.state == "FAIL":
            say(console, f"trial {row.number}: failed: {row.cause}")
        if row.losses:
            times = ", ".join(f"{n}x {LOSS_WORDS[loss]}" for loss, n in row.losses.items())
            say(console, f"trial {row.number}: lost its process: {times}")
    names = ("number", "state", "epochs", "cause", "losses")
    each = [{name: getattr(row, name) for name in names} for row in rows]
    return {kind_of(studies / name): name, **_plain(totals), "driver": who, "trials": each}


def _plain(totals: StudyTotals) -> dict[str, Any]:
    best = totals.best
    return {
        "states": dict(totals.states),
        "best": None if best is None else {"trial": best.number, "value": best.value},
        "spent": totals.spent,
    }


def replay(console: Console, studies: Path, name: str, space: str, url: str = "") -> dict[str, Any]:
    """Choose a study's trials again from its record alone, and print whether they are the same.

    Returns the same as JSON has it.
    """
    from drmn.search.study.replay import replay as again  # noqa: PLC0415 - samplers, so SciPy

    study = read_study(studies, name, url)
    identity = study.user_attrs["identity"]
    path = source(space or identity["space"])
    text = path.read_bytes()
    if hashlib.sha256(text).hexdigest()[:16] != identity["space_digest"]:
        raise StudyError(
            f"Study {name} was made with another space than {path} is now; give the file as it was "
            "with --space."
        )
    found = again(study, load(str(path)))
    other = [str(number) for number, same in found if not same]
    which = f"; otherwise: {', '.join(other)}" if other else ""
    say(
        console,
        f"study {name}: {len(found) - len(other)} of {len(found)} trials are what its "
        f"policy chooses from the record{which}",
    )
    return {"study": name, "trials": [{"number": number, "same": same} for number, same in found]}


def verify(console: Console, studies: Path, name: str, url: str = "") -> dict[str, Any]:
    """Compare the files that a study or run keeps with their digests; print those that differ.

    Returns the same as JSON has it.
    """
    from drmn.search.analysis.verify import verify as compared  # noqa: PLC0415 - torch with it

    rows, who = summarize_all(read_study(studies, name, url)), driver_of(studies / name, url)
    found = compared(studies / name, rows, driven=bool(who))
    bad = [each for each in found if each.problem]
    for each in bad:
        say(console, f"{studies / name / each.file}: {each.problem}")
    state = f"{len(bad)} of {len(found)} files are not" if bad else f"all {len(found)} files are"
    kind = kind_of(studies / name)
    left = "; packages and figures are not compared while a driver runs" if who else ""
    say(console, f"{kind} {name}: {state} as they were written{left}")
    files = [{"file": each.file, "problem": each.problem} for each in bad]
    return {kind: name, "files": len(found), "bad": files}


def stop(console: Console, studies: Path, name: str, url: str = "") -> None:
    """End the driver of a study or run, as SIGTERM does; the same command resumes it.

    Raises:
        StudyError: There is none of this name, no process runs it here, or it does not end.
    """
    read_study(studies, name, url)
    pid, kind = locked_by(studies / name), kind_of(studies / name)
    title = f"{kind.capitalize()} {name}"
    if pid is None and (who := driver_of(studies / name, url)):
        raise StudyError(f"{title} is run by {who}; stop it there, with the --results it has.")
    if pid is None:
        raise StudyError(f"{title} is run by no process of this machine; nothing to stop.")
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + STOP_TIMEOUT_S
    while locked_by(studies / name) == pid:
        if time.monotonic() > until:
            raise StudyError(f"{title}: process {pid} does not end; kill -9 {pid} is safe too.")
        time.sleep(0.2)
    say(console, f"{kind} {name}: stopped; the same command resumes it")


def _best(totals: StudyTotals) -> str:
    best = totals.best
    return "-" if best is None else f"{100 * (best.value or 0):.1f} (trial {best.number})"

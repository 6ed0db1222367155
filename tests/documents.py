"""What the pages say that can be checked: commands, and options of our own programs."""

import re
import sys
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import tyro
from paths import ROOT

from drmn.final.__main__ import FinalJob
from drmn.help import EVERYTHING

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
"""Those that speak of the project as it is today; the changelog speaks of the past."""
JOBS = {
    "prepare": "PrepareJob",
    "tune": "TuneJob",
    "train": "TrainJob",
    "finalize": "FinalizeJob",
    "report": "ReportJob",
    "export": "ExportJob",
    "predict": "PredictJob",
    "sync": "SyncJob",
    "doctor": "DoctorJob",
}
PROGRAMS = {"python", "make", "ray", "mlflow", "pip"}


@dataclass(frozen=True)
class Command:
    """A command that a page tells a reader to type."""

    line: str
    why_not: str
    """Why no test runs it; empty if one does."""


def commands(page: Path) -> list[Command]:
    """Return the commands of a page's indented blocks.

    `<!-- not run: why -->` just above a block says why none of its commands is run.
    """
    text, found = page.read_text(), []
    for block in re.finditer(r"(?:^ {4}.+\n)+", text, re.MULTILINE):
        marked = re.search(r"<!-- not run: ((?:(?!-->).)*) -->\s*$", text[: block.start()])
        for line in block[0].splitlines():
            command = line.split(" #")[0].strip()
            if command.split(" ")[0] in PROGRAMS:
                found.append(Command(command, marked[1] if marked else ""))
    return found


def options_named(text: str) -> set[str]:
    """Return the options that a text names; of a family, as `--model.*`, none."""
    return set(re.findall(r"(?<![\w-])--[a-z](?:[\w.-]*\w)?(?![\w.-]*\*)", text))


def options_of(job: str) -> set[str]:
    """Return the options of jobs/<job>.py."""
    sys.path.insert(0, str(ROOT / "jobs"))
    try:
        return _options(getattr(import_module(job), JOBS[job])) | {EVERYTHING}
    finally:
        sys.path.remove(str(ROOT / "jobs"))


def all_options() -> set[str]:
    """Return the options of all that a person runs of ours."""
    known = _options(FinalJob).union(*map(options_of, JOBS))
    # What the wrapper of jobs, MLflow's server and benchmarks take is written in their code.
    own = [ROOT / "drmn" / "cli.py", ROOT / "drmn" / "tracking" / "__main__.py"]
    for module in (*own, *(ROOT / "benchmarks").glob("*.py")):
        known |= set(re.findall(r'"(--[a-z][a-z-]+)"', module.read_text()))
    return known


def _options(job: type) -> set[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        parser = tyro.extras.get_parser(job)
    return {name for action in parser._actions for name in action.option_strings}

"""Parts common to all jobs: the command line, and the report of errors."""

import errno
import json
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import tyro

from drmn import flags
from drmn import help as helping
from drmn.collector import collect_rarely
from drmn.config import DatasetName
from drmn.encoding import print_in_any_encoding
from drmn.errors import ConfigError, UserError
from drmn.feature_files import OF_A_BACKBONE, require_dataset_of_files
from drmn.fields import did_you_mean
from drmn.help import Common

J = TypeVar("J")
SPIN = {"GOMP_SPINCOUNT": "1000"}
"""How long a thread of OpenMP that waits for others spins before it sleeps: some microseconds,
where it would be milliseconds. It is read when torch is imported (benchmarks/busy.py)."""
Dataset = Annotated[
    str, tyro.conf.arg(help=f"One of: {', '.join(get_args(DatasetName))} (docs/own-data.md).")
]
"""The name of a dataset, as a setting of a job."""


def require_dataset(name: str) -> None:
    """Raise `ConfigError` if no dataset is named, or none of this name is known."""
    names = get_args(DatasetName)
    if not name:
        raise ConfigError(f"--dataset is missing: {', '.join(names)}.")
    if name not in names:
        raise ConfigError(f"Unknown dataset {name!r}.{did_you_mean(name, names)}")


def require_place(path: Path | None) -> None:
    """Raise `ConfigError` if the file of `--json` cannot be written: known before the work."""
    if path is None:
        return
    try:
        if not path.absolute().parent.is_dir():
            raise ConfigError(f"--json {path}: no such folder to write into.")
        if path.is_dir():
            give = path / "result.json"
            raise ConfigError(f"--json {path}: a folder; give a file, such as {give}.")
        new = not path.exists()
        path.open("ab").close()
    except OSError as problem:
        raise ConfigError(
            f"--json {path}: {problem.strerror}; give a file that may be written to."
        ) from None
    if new:
        path.unlink()


def arguments() -> list[str]:
    """Return this job's command line; a leading `~` of a value is the home folder."""
    return [flags.expand_home(each) for each in sys.argv[1:]]


def given() -> flags.Given:
    """Return the options of this job's command line, by the names of their settings."""
    return flags.given(arguments())


def require_used_features(hdf5: str, dataset: str) -> None:
    """Raise `ConfigError` if a dataset or an option has no use for the features of a file."""
    if hdf5:
        require_dataset_of_files(dataset)
        options = given()
        flags.refuse_unused(options, options.keys() - set(OF_A_BACKBONE), f"--hdf5 {hdf5}")


def parse(job: type[J], texts: Sequence[str]) -> J:
    """Return the job of a command line; of an option that is there twice the last one counts."""
    parsed = tyro.cli(job, args=list(texts))
    _require_paths(parsed)
    return parsed


def _require_paths(job: Any) -> None:
    """Raise `ConfigError` if a URI is given where files of this machine are meant."""
    for each in fields(job):
        place = getattr(job, each.name)
        if isinstance(place, Path) and re.match("[a-z][a-z0-9]+:/", str(place)):
            scheme, _, rest = str(place).partition(":/")
            raise ConfigError(
                f"{scheme}://{rest}: no path of this machine; give one, such as of a folder where "
                f"{scheme}:// is mounted."
            )


def write_json(path: Path | None, plain: object) -> None:
    """Write a result into the file of `--json`, if one was asked for."""
    if path is not None:
        path.write_text(json.dumps(plain, indent=1))


def run(main: Callable[[J], None], job: type[J], common: Common | None = None) -> None:
    """Parse the command line into a `job` and run `main` on it.

    With `common` options, `--help` shows those on one screen, and `--help-all` every one.

    A user's mistake ends in one sentence and exit status 2; Ctrl-C, SIGTERM and a lost terminal
    (SIGHUP) in 130; an error that nobody foresaw in one sentence, a log with its traceback, and 70.
    """
    # Where other processes need the cores, small operations take many times as long by default.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.update(SPIN | os.environ)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # nohup has it ignored
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    print_in_any_encoding()
    collect_rarely()
    try:
        if common and helping.asked(arguments()):
            print(helping.short(job, common, sys.modules["__main__"].__doc__ or ""))  # noqa: T201
            return
        main(parse(job, helping.full(arguments())))
    except UserError as mistake:
        sys.exit(_say(f"error: {mistake}", 2))
    except KeyboardInterrupt:
        sys.exit(_say("interrupted; the same command resumes it", 130))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as problem:
        remedy = _REMEDIES.get(problem.errno or 0)
        sentence = f"error: {problem.filename}: {problem.strerror}; {remedy}."
        sys.exit(_say(sentence, 2) if remedy else _unforeseen(problem))
    except Exception as problem:  # noqa: BLE001 - no traceback on a person's terminal
        sys.exit(_unforeseen(problem))


_ELSEWHERE, _ROOM = "give --results a folder that may be written to", "make room and start again"
_REMEDIES = {
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST), _ELSEWHERE
    ),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _ROOM),
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EISDIR: "give a file",
}
"""Remedies for errors of a disk; any other error of the system is a bug."""


def _unforeseen(problem: Exception) -> int:
    """Print an error in a sentence, with the path of a log that has its traceback."""
    lines = traceback.format_exception(problem)
    with tempfile.NamedTemporaryFile("w", prefix="drmn-", suffix=".log", delete=False) as log:
        log.write(f"{' '.join(sys.argv)}\n\n{''.join(lines)}")
    first = (str(problem).splitlines() or [""])[0][:200]
    return _say(
        f"error: {type(problem).__name__}: {first}; this was not foreseen: {log.name} has all of "
        "it. Nothing that was finished is lost: give the same command again.",
        os.EX_SOFTWARE,
    )


def _say(text: str, status: int) -> int:
    print(text, file=sys.stderr)  # noqa: T201
    return status

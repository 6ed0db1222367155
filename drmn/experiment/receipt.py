"""The receipt of a finished study: its outcome, and all it depends on, to compare the next time.

No heavy library is imported here. A receipt holds as long as nothing that was asked, read or made
has changed; where anything has, the job runs in full, which redoes just that.
"""

import json
import sqlite3
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xxhash

from drmn.experiment.lock import LOCK, locked_by
from drmn.io import atomic
from drmn.io.content import digest_of, files_below, rows_of, stats_below

RECEIPT = "receipt.json"
"""File of a study's folder."""
PACKAGE_ROOT = Path(__file__).parents[1]
MOST_FILES = 200_000
"""Maximum number of files of a data root that are compared: a second or two."""
LOGS = ("spool.log", "figures.log")
RECORD, SPOOL, USED = "record.db", "spool.db", "used"
"""Record, spool, and time of a store's last use: files whose bytes are not compared."""
BESIDE = ("-wal", "-shm", "-journal")
SQLITE = "sqlite:///"


@dataclass(frozen=True, kw_only=True, slots=True)
class Basis:
    """Files and settings that a finished study depends on, beside its folder."""

    asked: Mapping[str, Any]
    """The settings of the job."""
    data: Sequence[str]
    """Files and folders of the dataset: compared by size and time, as the check of images does."""
    made: Sequence[str]
    """Files and folders that were made of them: compared by content."""
    tracking_uri: str
    """URI of MLflow's store."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """A finished study as a job showed it."""

    basis: Mapping[str, Any]
    evidence: Mapping[str, Any]
    """Digests of the basis and of all that the study's folder holds."""
    said: str
    """The printed text, with its colours."""
    outcome: Mapping[str, Any]
    """The content of `--json`."""


def write(study: Path, basis: Basis, said: str, outcome: Mapping[str, Any]) -> None:
    """Write the receipt of a finished study, unless it depends on what cannot be compared."""
    (study / RECEIPT).unlink(missing_ok=True)
    found = _evidence(study, basis)
    if all(found.values()):
        kept = Receipt(basis=asdict(basis), evidence=found, said=said, outcome=outcome)
        atomic.write(study / RECEIPT, json.dumps(asdict(kept), default=str))


def read(study: Path, asked: Mapping[str, Any]) -> Receipt | None:
    """Return the receipt of a study that no driver runs, if nothing has changed since."""
    try:
        kept = Receipt(**json.loads((study / RECEIPT).read_text()))
        basis = Basis(**{**kept.basis, "asked": asked})
        same = locked_by(study) is None and _evidence(study, basis) == kept.evidence
    except (OSError, ValueError, TypeError):
        return None
    return kept if same else None


def _evidence(study: Path, basis: Basis) -> dict[str, Any]:
    """Return digests of all that a study depends on now; empty for what cannot be compared."""
    databases = [f"{name}{end}" for name in (RECORD, SPOOL) for end in ("", *BESIDE)]
    files = files_below(study, (LOCK, RECEIPT, *LOGS, *databases))
    for place in basis.made:
        files += files_below(Path(place), (USED,))
    here = [str(Path.cwd()), sys.executable, _code(), _libraries()]
    return {
        "asked": _digest([basis.asked, *here]),
        "data": _data(basis.data),
        "files": {str(file): digest_of(file) for file in files},
        "record": rows_of(study / RECORD),
        "shipped": _shipped(study / SPOOL),
        "runs": _runs(basis.tracking_uri, study / SPOOL),
    }


def _digest(content: object) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(content, sort_keys=True, default=str).encode())


def _data(places: Sequence[str]) -> str:
    """Return a digest of the dataset's files as they are; empty if they cannot be compared."""
    found = [place and stats_below(Path(place), MOST_FILES) for place in places]
    return _digest(found) if all(found) else ""


def _code() -> str:
    seen = xxhash.xxh3_128()
    for file in sorted(PACKAGE_ROOT.rglob("*.py")):
        seen.update(file.read_bytes())
    return seen.hexdigest()


def _libraries() -> int:
    """Return when a library was last installed or removed."""
    return Path(sysconfig.get_paths()["purelib"]).stat().st_mtime_ns


def _shipped(spool: Path) -> str:
    """Return a digest of what was shipped; empty if something waits."""
    return "" if _rows(spool, "waiting") else rows_of(spool)


def _runs(uri: str, spool: Path) -> str:
    """Return a digest of a study's runs and models in a SQLite store; of a server, its address."""
    if not uri.startswith(SQLITE):
        return uri
    ids = {str(found) for _, found in _rows(spool, "runs")}
    return rows_of(Path(uri.removeprefix(SQLITE)), ("runs", "logged_models"), ids) if ids else ""


def _rows(spool: Path, table: str) -> list[tuple[Any, ...]]:
    if not spool.is_file():
        return []
    with closing(sqlite3.connect(spool)) as opened, suppress(sqlite3.DatabaseError):
        return list(opened.execute(f"SELECT * FROM {table}"))  # noqa: S608 - two names of ours
    return []

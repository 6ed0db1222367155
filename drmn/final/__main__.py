"""Look at the ledger: who opened which test split, when, and for which study.

python -m drmn.final ledger verify     nothing in it was altered, removed, inserted or moved
python -m drmn.final ledger show       a line an opening
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from drmn.cli import run
from drmn.data.sealed import ledger
from drmn.data.sealed.hash_chain import Entry
from drmn.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class FinalJob:
    """Look at the ledger: who opened which test split, when, and for which study."""

    what: Positional[Literal["ledger"]]
    action: Positional[Literal["verify", "show"]]
    """verify: whether it is as it was written. show: a line an opening."""
    results: Path = Path("results")
    """Where everything is kept that jobs make."""


def main(job: FinalJob) -> None:
    """Run the action of the command line; both refuse a ledger that was tampered with."""
    root = job.results / "sealed"
    if not root.is_dir():
        raise DataError(f"--results {job.results}: no sealed/ in it; jobs/prepare.py makes it.")
    entries = ledger.verify(root)
    if job.action == "verify":
        print(f"ledger: {len(entries)} opening{'s' * (len(entries) != 1)}, unbroken")
    else:
        print("\n".join(map(_shown, entries)) or "ledger: nothing was opened yet")


def _shown(entry: Entry) -> str:
    purpose = json.dumps(entry.purpose, ensure_ascii=False)  # a newline must not look like an entry
    again = ", again" if entry.again else ""
    return (
        f"{entry.number}  {entry.when}  {entry.who}  {entry.dataset} {entry.sealed}  "
        f"study {entry.study}{again}: {purpose}  [{entry.hash[:12]}]"
    )


if __name__ == "__main__":
    run(main, FinalJob)

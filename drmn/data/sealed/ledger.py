"""The ledger of openings of test splits: entries are only ever added, and a change is found.

Its chain of hashes shows neither that the end was cut off nor that all of it was rewritten: for
that each sealed folder keeps its own last entry in `opened.json`. A rewrite of both at once is not
found here; the hash of an entry in a report would show it.
"""

import fcntl
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from drmn.data.sealed import hash_chain
from drmn.data.sealed.hash_chain import Entry
from drmn.errors import DataError
from drmn.io import atomic

LEDGER, UNFINISHED, OPENED = "ledger.jsonl", "ledger.unfinished", "opened.json"

Known = Mapping[Path, tuple[int, str]]
"""The number and hash of the entry in each `opened.json`."""


def append(
    root: Path,
    folder: Path,
    *,
    dataset: str,
    sealed: str,
    split: str,
    study: str,
    purpose: str,
    again: bool,
    resume: bool = False,
) -> Entry:
    """Record the opening of the test part in `folder`; return once the entry is on the disk.

    A split is opened by any of its parts: with a photo repaired, or as features of a file, it is
    another part of the same test. `again` allows a second opening; the entry's own `again` records
    whether it is one. With `resume` the last opening goes on, if it was for the same study and
    purpose: its process died before it had the data. An entry that a power loss left unfinished was
    never acted upon: it is moved to `ledger.unfinished`.

    Raises:
        DataError: The ledger is broken, or the part was opened before and `again` is false.
    """
    path = root / LEDGER
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        entries, unfinished = _checked(path, file.read(), _known(root))
        before = [entry for entry in entries if sealed == entry.sealed or split == entry.split]
        if before and not again:
            return _resumed(before, study, purpose, resume=resume)
        about = {"dataset": dataset, "sealed": sealed, "split": split, "study": study}
        entry = hash_chain.following(entries, **about, purpose=purpose, again=bool(before))
        if unfinished:
            _move_aside(path, file, unfinished)
        _write(file, entry)
        atomic.sync(root)
        atomic.write(folder / OPENED, json.dumps({"number": entry.number, "hash": entry.hash}))
    return entry


def _resumed(before: Sequence[Entry], study: str, purpose: str, *, resume: bool) -> Entry:
    """Return the last opening if it may go on; a second one is refused."""
    if resume and (before[-1].study, before[-1].purpose) == (study, purpose):
        return before[-1]
    raise DataError(_opened(before[0]))


def verify(root: Path) -> list[Entry]:
    """Return the entries of the ledger in `root`, oldest first; before any opening there are none.

    Raises:
        DataError: An entry was altered, removed, inserted, moved or left unfinished; names it.
    """
    known = _known(root)  # first: an entry appended meanwhile is no contradiction
    path = root / LEDGER
    entries, unfinished = _checked(path, _read(path), known)
    if unfinished:
        raise DataError(
            f"{path}: entry {len(entries) + 1} is unfinished: the machine stopped while it was "
            f"written, so nothing was opened by it; the next opening moves it to {UNFINISHED}."
        )
    return entries


def _read(path: Path) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        return file.read()


def _write(file: BinaryIO, entry: Entry) -> None:
    file.write(hash_chain.line(entry))
    file.flush()
    os.fsync(file.fileno())


def _move_aside(path: Path, file: BinaryIO, unfinished: bytes) -> None:
    with path.with_name(UNFINISHED).open("ab") as kept:
        kept.write(unfinished + b"\n")
    file.truncate(file.seek(0, os.SEEK_END) - len(unfinished))
    message = "%s: its last entry was unfinished; it was moved to %s."
    logging.getLogger(__name__).warning(message, path, UNFINISHED)


def _opened(entry: Entry) -> str:
    return (
        f"The test split of {entry.dataset} was opened on {entry.when} by {entry.who} for study "
        f'{entry.study}; open it again with --reopen "REASON", which every report will show.'
    )


def _known(root: Path) -> Known:
    return {path: _last(path) for path in sorted(root.glob(f"*/{OPENED}"))}


def _last(path: Path) -> tuple[int, str]:
    try:
        last = json.loads(path.read_text())
        return int(last["number"]), str(last["hash"])
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path}: not a record of an opening; put a copy of it back.") from None


def _checked(path: Path, content: bytes, known: Known) -> tuple[list[Entry], bytes]:
    entries, unfinished = hash_chain.parse(path, content)
    hashes = {entry.number: entry.hash for entry in entries}
    for opened, (number, last) in known.items():
        if number not in hashes:
            raise hash_chain.broken(path, f"entry {number} was removed: {opened} remembers it")
        if hashes[number] != last:
            raise hash_chain.broken(
                path,
                f"entry {number} is not the one that {opened} remembers: it or one before it was "
                "altered and the chain made anew",
            )
    return entries, unfinished

"""A chain of entries, each with the hash of the one before, so that any change is found."""

import hashlib
import json
import os
import pwd
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drmn.errors import DataError

FIRST_PREVIOUS = "0" * 64
"""Hash of the previous entry in the first one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One opening of a test split."""

    number: int
    """Number of the entry, from 1."""
    when: str
    """Time of the opening in UTC, ISO 8601."""
    who: str
    dataset: str
    sealed: str
    """The digest of the test part."""
    split: str
    """The digest of the test: the dataset, and the classes that only its test set has."""
    study: str
    purpose: str
    again: bool
    """Whether it had been opened before."""
    previous: str
    """The hash of the entry before."""
    hash: str
    """SHA-256 of all the rest."""


TYPES = {field.name: field.type for field in fields(Entry)}


def following(
    entries: list[Entry],
    *,
    dataset: str,
    sealed: str,
    split: str,
    study: str,
    purpose: str,
    again: bool,
) -> Entry:
    """Return the entry that follows `entries`, by this user at this time."""
    content: dict[str, Any] = {
        "number": len(entries) + 1,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": f"{_user()}@{socket.gethostname()}",
        "dataset": dataset,
        "sealed": sealed,
        "split": split,
        "study": study,
        "purpose": purpose,
        "again": again,
        "previous": entries[-1].hash if entries else FIRST_PREVIOUS,
    }
    return Entry(**content, hash=_hash(content))


def line(entry: Entry) -> bytes:
    """Return the line of `entry` in the file."""
    return _canonical(asdict(entry)) + b"\n"


def parse(path: Path, content: bytes) -> tuple[list[Entry], bytes]:
    """Return the entries in the `content` of `path`, and the unfinished line at its end if any.

    Raises:
        DataError: An entry was altered, removed, inserted or moved; names it.
    """
    *lines, unfinished = content.split(b"\n")
    entries = [_entry(path, place, text) for place, text in enumerate(lines, 1)]
    _check_order(path, entries)
    _check_links(path, entries)
    return entries, unfinished


def broken(path: Path, what: str) -> DataError:
    """Return the error for a ledger that was tampered with."""
    return DataError(
        f"{path}: {what}; put a copy of the ledger back, until then no test split can be opened."
    )


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name  # unlike $USER, not for the user to choose
    except KeyError:
        return str(os.getuid())  # in a container a user may have no name


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _hash(content: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in content.items() if name != "hash"}
    return hashlib.sha256(_canonical(rest)).hexdigest()


def _entry(path: Path, place: int, text: bytes) -> Entry:
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict) or {k: type(v) for k, v in content.items()} != TYPES:
        raise broken(path, f"entry {place} was altered: it is no entry")
    if _canonical(content) != text or _hash(content) != content["hash"]:
        raise broken(path, f"entry {place} was altered: its hash is of another content")
    return Entry(**content)


def _check_order(path: Path, entries: list[Entry]) -> None:
    numbers = [entry.number for entry in entries]
    wanted = list(range(1, len(numbers) + 1))
    for place, number in zip(wanted, numbers, strict=True):
        if number == place:
            continue
        if place not in numbers:
            raise broken(path, f"entry {place} was removed")
        kind = "moved" if sorted(numbers) == wanted else "inserted"
        raise broken(path, f"entry {number} was {kind}: it stands where entry {place} belongs")


def _check_links(path: Path, entries: list[Entry]) -> None:
    previous = FIRST_PREVIOUS
    for entry in entries:
        if entry.previous != previous:
            raise broken(path, _loose(entry.number))
        previous = entry.hash


def _loose(number: int) -> str:
    if number == 1:
        return "entry 1 follows another, so the chain begins elsewhere"
    return f"entry {number - 1} was altered: entry {number} does not follow from it"

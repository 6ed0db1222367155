"""The tables of a user's own dataset: attributes.csv and splits.csv (docs/own-data.md)."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from drmn.errors import DataError
from drmn.io.folders import composed

SPLITS = ("train", "val", "test")

Attributes = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table, with the number of its line in the file."""

    line: int
    cells: list[str]

    @property
    def name(self) -> str:
        """Return the first cell."""
        return self.cells[0]


def read_attributes(path: Path) -> tuple[list[str], tuple[str, ...], Attributes, tuple[str, ...]]:
    """Return class names, attribute names, values [class, attr] and notes.

    Raises:
        DataError: The table is missing, damaged, contradicts itself or tells no class from another.
    """
    header, *rows = _table(path)
    _check_header(path, header)
    names = [row.name for row in rows]
    first: dict[str, Row] = {}
    for row in rows:
        if row.name.strip() in ("", ".", "..") or "/" in row.name:
            raise DataError(f"{path}: class {row.name!r} is no name of a folder; rename it.")
        if first.setdefault(row.name, row) is not row:
            raise DataError(
                f"{path}: class {row.name} has two rows, lines {first[row.name].line} and "
                f"{row.line}; leave one."
            )
    values = np.array([[_number(path, row, cell) for cell in row.cells[1:]] for row in rows])
    empty = ~values.any(axis=1)
    if empty.any():
        row = rows[int(np.flatnonzero(empty)[0])]
        raise DataError(f"{path}: line {row.line}: class {row.name} has no attribute at all.")
    return names, tuple(header.cells[1:]), values, _twins(path, rows, values)


def _check_header(path: Path, header: Row) -> None:
    first: dict[str, int] = {}
    for column, cell in enumerate(header.cells[1:], start=2):
        name = cell.strip()
        if not name:
            raise DataError(f"{path}: line {header.line}: column {column} has no name.")
        if first.setdefault(name, column) != column:
            raise DataError(
                f"{path}: line {header.line}: columns {first[name]} and {column} are both called "
                f"{name!r}; give each attribute another name."
            )


def _number(path: Path, row: Row, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise DataError(
            f"{path}: line {row.line}: class {row.name}: {text!r} is no number of 0 or more."
        )
    return value


def _twins(path: Path, rows: Sequence[Row], values: Attributes) -> tuple[str, ...]:
    """Return a note on classes with the attributes of another.

    Raises:
        DataError: All have the same.
    """
    unit = np.round(values / np.linalg.norm(values, axis=1, keepdims=True), 12)
    _, first, which = np.unique(unit, axis=0, return_index=True, return_inverse=True)
    if len(first) == 1 and len(rows) > 1:
        raise DataError(
            f"{path}: lines {rows[0].line} to {rows[-1].line}: all classes have the same "
            "attributes, up to a factor, so no class differs from another; give each its values."
        )
    pairs = [(rows[first[k]], row) for k, row in zip(which, rows, strict=True)]
    twins = [(one, other) for one, other in pairs if one is not other]
    if not twins:
        return ()
    one, other = twins[0]
    note = (
        f"{len(twins)} classes have the attributes of another, such as {other.name} (line "
        f"{other.line}) of {one.name} (line {one.line}): as unseen classes they cannot be told "
        "apart."
    )
    return (note,)


def read_splits(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the split of each class that the table names; empty if there is no such file.

    Raises:
        DataError: The table contradicts itself or attributes.csv, or lacks a class or a split.
    """
    if not path.is_file():
        return {}
    splits: dict[str, tuple[str, int]] = {}
    for row in _table(path)[1:]:
        name, split = row.name, row.cells[-1].strip()
        if name not in names:
            raise DataError(f"{path}: line {row.line}: class {name} is not in attributes.csv.")
        if split not in SPLITS:
            known = ", ".join(SPLITS)
            raise DataError(f"{path}: line {row.line}: class {name}: {split!r} is none of {known}.")
        before, line = splits.setdefault(name, (split, row.line))
        if before != split:
            raise DataError(
                f"{path}: class {name} is {before} in line {line} and {split} in line {row.line}; "
                "leave one."
            )
    missing = sorted(set(names) - splits.keys())
    if missing:
        raise DataError(f"{path}: class {missing[0]} is missing.")
    found = {name: split for name, (split, _) in splits.items()}
    if not {"train", "val"} <= set(found.values()):
        raise DataError(f"{path}: at least one train and one val class are needed.")
    return found


def _table(path: Path) -> list[Row]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; docs/own-data.md describes it.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in _rows(path, file) if row.cells]
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; save it as CSV in UTF-8.") from None
    if len(rows) < 2:
        raise DataError(f"{path}: a header and a row for each class are needed.")
    if len(rows[0].cells) == 1:
        raise DataError(f"{path}: one column alone; separate the columns by commas.")
    wide = [row for row in rows if len(row.cells) != len(rows[0].cells)]
    if wide:
        raise DataError(
            f"{path}: line {wide[0].line}: the row of {wide[0].name} has {len(wide[0].cells)} "
            f"cells, the header {len(rows[0].cells)}."
        )
    return rows


def _rows(path: Path, file: TextIO) -> Iterator[Row]:
    """Yield the rows, each of one line: a quote that is never closed would swallow others."""
    reader = csv.reader(file, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            reason = f"a quote is not closed, or stands within a cell ({problem})"
            raise DataError(f"{path}: line {line}: {reason}; mend the quotes.") from None
        if reader.line_num > line:
            raise DataError(
                f"{path}: line {line}: a quote is closed only in line {reader.line_num}; a row is "
                "one line: mend the quotes."
            )
        yield Row(line, [composed(cell) for cell in cells])

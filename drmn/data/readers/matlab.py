"""Fields of MATLAB files, and lines of text files, with errors of one sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.io

from drmn.errors import DataError

Content = dict[str, Any]

IMAGE_LIST = {"image_files", "labels"}
"""The fields of res101.mat that are read; all others are att_splits.mat's."""


def load(path: Path) -> Content:
    """Return the fields of a .mat file."""
    try:
        content: Content = scipy.io.loadmat(path)
    except Exception as problem:  # noqa: BLE001 - scipy raises all kinds
        reason = f"{type(problem).__name__}: {problem}".splitlines()[0]
        raise DataError(f"{path}: not a readable .mat file ({reason}); fetch it again.") from None
    return content | {"__file__": path}


def get(content: Content, name: str) -> npt.NDArray[Any]:
    """Return a field."""
    if name not in content:
        have = [key for key in content if not key.startswith("__")]
        exchanged = (name in IMAGE_LIST) != bool(IMAGE_LIST & set(have))
        hint = "; are att_splits.mat and res101.mat exchanged?" if exchanged else "."
        raise DataError(
            f"{content['__file__']}: the field {name!r} is missing; the file holds "
            f"{', '.join(have)}{hint}"
        )
    value: npt.NDArray[Any] = content[name]
    return value


def integers(content: Content, name: str) -> npt.NDArray[np.int64]:
    """Return a field of 1-based numbers."""
    # Published as uint8 and uint16, which wrap round when one is subtracted from them.
    return get(content, name).ravel().astype(np.int64)


def texts(content: Content, name: str) -> list[str]:
    """Return a field of cells."""
    cells = [np.ravel(cell) for cell in get(content, name).ravel()]
    empty = [number for number, cell in enumerate(cells, start=1) if not cell.size]
    if empty:
        raise DataError(
            f"{content['__file__']}: cell {empty[0]} of {name!r} is empty; fetch the file again."
        )
    return [str(cell[0]) for cell in cells]


def lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise DataError(
            f"{path}: not UTF-8 text (byte {problem.start}); save it as UTF-8."
        ) from None
    return [line.strip() for line in text.splitlines() if line.strip()]

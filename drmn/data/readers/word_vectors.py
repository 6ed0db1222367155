"""Word vectors of attributes, from a .npy file or from the pickles in circulation."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drmn.data.readers import pickled_numbers
from drmn.errors import DataError, last_line

Words = npt.NDArray[np.float32]


def read(stem: Path, count: int) -> Words | None:
    """Return the word vectors [attr, dim] in `stem`.npy, else `stem`.pkl; None without either.

    Raises:
        DataError: The file does not hold one finite vector for each of `count` attributes.
    """
    for suffix, load in ((".npy", _npy), (".pkl", _pkl)):
        path = stem.with_suffix(suffix)
        if path.is_file():
            return checked(path, load(path), count)
    return None


def _npy(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except Exception as problem:  # noqa: BLE001 - its head is read as Python, which raises all kinds
        raise DataError(
            f"{path}: not a readable .npy file of numbers ({last_line(problem)})."
        ) from None


def _pkl(path: Path) -> Any:
    try:
        return pickled_numbers.loads(path.read_bytes())
    except pickled_numbers.NotNumbersError as problem:
        raise DataError(
            f"{path}: refused, since it is no plain array of numbers ({problem}); use a .npy file."
        ) from None


def checked(path: Path, words: Any, count: int) -> Words:
    """Return `words`, read from `path`, if they are one finite vector for each attribute."""
    array = np.asarray(words)
    if array.ndim != 2 or len(array) != count:
        raise DataError(f"{path}: shape {array.shape} where {count} word vectors are needed.")
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise DataError(f"{path}: holds something that is no finite number.")
    return array.astype(np.float32)


def note(words: Words | None, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return a note on attributes whose word vector is all zeros, as SUN's row 88 is."""
    if words is None or words.any(axis=1).all():
        return ()
    zero = np.flatnonzero(~words.any(axis=1))
    first = f"{names[zero[0]]} (row {zero[0] + 1})"
    return (f"{len(zero)} word vectors are all zeros, such as that of {first}: they say nothing.",)

"""Word vectors of attributes, from a .npy file or from the pickles in circulation."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from drmn.errors import DataError

Words = npt.NDArray[np.float32]

# All that a pickled array of numbers is made of, by NumPy 1's and NumPy 2's names.
_PLAIN = {
    (module, name)
    for core in ("numpy.core", "numpy._core")
    for module, name in (
        (f"{core}.multiarray", "_reconstruct"),
        (f"{core}.multiarray", "scalar"),
        (f"{core}.numeric", "_frombuffer"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    )
}


class _Numbers(pickle.Unpickler):
    """Unpickles arrays of numbers and refuses anything else that a pickle may call."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise pickle.UnpicklingError(f"it calls {module}.{name}")
        return super().find_class(module, name)


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
    except (OSError, ValueError, EOFError) as problem:
        raise DataError(f"{path}: not a readable .npy file of numbers ({problem}).") from None


def _pkl(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return _Numbers(file, encoding="latin1").load()  # written by Python 2
    except Exception as problem:  # noqa: BLE001 - a broken pickle raises all kinds
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

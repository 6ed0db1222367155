"""Opening a dataset: files read, every image checked, the test split sealed away."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from drmn.data import specs
from drmn.data.demo import dataset as demo
from drmn.data.feature_config import OnBad
from drmn.data.images.catalogue import Catalogue
from drmn.data.images.check import Inspection, inspect
from drmn.data.readers import class_folders, hdf5, listing, xlsa17
from drmn.data.readers.listing import Listing
from drmn.data.sealed import seal
from drmn.data.specs import DatasetSpec, Layout
from drmn.errors import DataError
from drmn.io import file_digest
from drmn.io.progress import StartProgress, silent

KNOWN = Path("features", "images.db")
"""Cache of checked images and of digests of files, in the folder of results."""


READERS: Mapping[Layout, Callable[[Path, DatasetSpec], Listing]] = {
    "xlsa17": xlsa17.read,
    "class-folders": lambda root, spec: class_folders.read(root, spec.name),
}
"""Readers of the files of each layout."""


def open_dataset(
    dataset: str,
    root: Path,
    results: Path,
    *,
    on_bad: OnBad = "stop",
    hdf5_file: Path | None = None,
    start: StartProgress = silent,
) -> Catalogue:
    """Return the development catalogue of a dataset, and seal its test split in `results`.

    Args:
        dataset: One of `drmn.data.specs`; the demo is drawn first.
        root: The folder of its files; for the demo, where to draw them.
        results: The folder of results.
        on_bad: What to do about images that cannot be read.
        hdf5_file: A file of features in place of the images.
        start: Starts the progress of the check of the images.

    Raises:
        DataError: A file is missing, unreadable or contradicts another; or an image cannot be read
            and `on_bad` is "stop".
    """
    for path in (root, hdf5_file or root):
        _check_name(path)
    if hdf5_file is None:
        found = list_dataset(dataset, root)
        checked = inspect(found.photos(), results / KNOWN, start("images"))
    else:
        found, checked = _list_imported(dataset, root, hdf5_file, results, start)
    if on_bad == "stop":
        listing.refuse_bad(found, checked)
    catalogue = listing.development(found, checked)
    seal.seal(results / "sealed", listing.sealed_part(found, checked, catalogue))
    return catalogue


def _check_name(path: Path) -> None:
    """Raise `DataError` for a path that is not UTF-8: the cache could not hold its files' names."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path.absolute()).decode(errors="backslashreplace")
        raise DataError(f"{shown}: the path is not UTF-8; rename it, or link to it.") from None


def list_dataset(dataset: str, root: Path) -> Listing:
    """Return the listing in a dataset's files, without reading its images."""
    spec = specs.spec(dataset)
    if spec.rendered:
        demo.render(root)
    return READERS[spec.layout](root, spec)


def _list_imported(
    dataset: str, root: Path, file: Path, results: Path, start: StartProgress
) -> tuple[Listing, Inspection]:
    found = hdf5.read(file, root, specs.spec(dataset))
    digest = file_digest.digest(file, results / KNOWN, start("file, MB"))
    return found, hdf5.inspected(found, digest)

"""The photos of a user's own dataset: a folder for each class (docs/own-data.md)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drmn.errors import DataError
from drmn.io.folders import Below, composed, is_leftover, walk

SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp", ".png", ".apng", ".webp", ".gif"),
    *(".bmp", ".dib", ".tif", ".tiff", ".avif", ".jp2", ".j2k", ".ppm", ".pgm", ".pnm", ".tga"),
    *(".heic", ".heif", ".hif", ".jxl"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"),
}
"""Suffixes of photos: those that cannot be decoded are named when the images are checked."""


@dataclass(frozen=True, slots=True)
class ClassPhotos:
    """The photos of each class."""

    paths: Mapping[str, Mapping[str, Path]]
    """Files by class and by path below the folder of images, in composed Unicode, sorted."""
    notes: tuple[str, ...]
    """Notes on what was left out."""


def find_photos(folder: Path, names: Sequence[str]) -> ClassPhotos:
    """Return the photos of these classes in their folders below `folder`.

    Raises:
        DataError: The folder is missing, holds the folder of no class, or two of one name.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; it holds a folder of images for each class.")
    every = sorted(folder.iterdir())
    left = [e for e in every if is_leftover(e.name) and composed(e.name) not in names]
    places = _class_folders(folder, [e for e in every if e not in left], names)
    found = {name: walk(place) for name, place in places.items()}
    paths = {name: _photos(folder, name, places.get(name), found.get(name)) for name in names}
    loose = [e for e in every if e not in left and e.suffix.lower() in SUFFIXES and e.is_file()]
    below = list(found.values())
    leftovers = left + [each for part in below for each in part.leftovers]
    loops = [each for part in below for each in part.loops]
    others = [each for part in below for each in part.files if each.suffix.lower() not in SUFFIXES]
    return ClassPhotos(
        paths,
        (
            *_note(leftovers, "leftovers of other programs are left out"),
            *_note(loops, "links to a folder that is there already are not followed"),
            *_note(others, "files are no photos and are left out"),
            *_note(loose, "photos are in the folder of no class and are left out"),
        ),
    )


def _class_folders(folder: Path, entries: Sequence[Path], names: Sequence[str]) -> dict[str, Path]:
    places: dict[str, Path] = {}
    for place in entries:
        if not place.is_dir():
            continue
        name = composed(place.name)
        if name not in names:
            raise DataError(f"{place}: attributes.csv has no class {place.name!r}.")
        if places.setdefault(name, place) != place:
            raise DataError(
                f"{folder}: two folders are called {name!r}, in two Unicode forms; merge them."
            )
    return places


def _photos(folder: Path, name: str, place: Path | None, found: Below | None) -> dict[str, Path]:
    if place is None or found is None:
        return {}
    files: dict[str, Path] = {}
    for file in found.files:
        if file.suffix.lower() not in SUFFIXES:
            continue
        path = composed(str(Path(name, file.relative_to(place))))
        _check_name(file)
        if files.setdefault(path, file) != file:
            raise DataError(
                f"{folder / path}: two photos have this name, in two Unicode forms; rename one."
            )
    return dict(sorted(files.items()))


def _check_name(file: Path) -> None:
    try:
        str(file).encode()
    except UnicodeEncodeError:
        name = os.fsencode(file).decode(errors="backslashreplace")
        raise DataError(f"{name}: the file's name is not UTF-8; rename it.") from None


def _note(paths: Sequence[Path], words: str) -> tuple[str, ...]:
    return (f"{len(paths)} {words}, such as {paths[0]}.",) if paths else ()

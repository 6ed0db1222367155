"""The official files of CUB, SUN, AwA2 and aPY: images and the proposed splits of Xian et al.

`read` returns all of them, the test split too, for `drmn.prepare` to divide and seal.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from drmn.data.images.catalogue import FOLDS
from drmn.data.readers import apascal, matlab, word_vectors
from drmn.data.readers.listing import Listing
from drmn.data.readers.split_files import Official, check, differences, mend
from drmn.data.specs import SPECS, DatasetSpec
from drmn.errors import DataError


def read(root: Path, spec: DatasetSpec) -> Listing:
    """Return the listing of the dataset below `root`.

    Raises:
        DataError: A file is missing or unreadable, or the files contradict each other.
    """
    official = open_official(find_splits(root, spec), spec)
    files = _find_files(root, official.images, spec)
    found = replace(described(root, official, spec), files=files)
    if spec.naming != "boxes":
        return found
    names = [official.classes[label] for label in official.labels]
    boxes = apascal.boxes(_tables(root), official.images, names)
    return replace(found, images=apascal.named(official.images, boxes), boxes=boxes)


def described(
    root: Path, official: Official, spec: DatasetSpec, vectors: word_vectors.Words | None = None
) -> Listing:
    """Return the listing without a search for image files: `files` is empty.

    Word vectors are those below `root` unless `vectors` are given.
    """
    values, mended = mend(official.attributes, spec)
    attribute_names = _attribute_names(root, spec, values.shape[1])
    if vectors is None:
        vectors = word_vectors.read(root / "w2v" / f"{spec.folder}_attribute", values.shape[1])
    return Listing(
        dataset=spec.name,
        images=official.images,
        files=(),
        labels=official.labels,
        splits=_parts(official),
        classes=official.classes,
        attributes=values,
        attribute_names=attribute_names,
        words=vectors,
        folds=official.folds,
        notes=differences(official, spec) + mended + word_vectors.note(vectors, attribute_names),
    )


def _parts(official: Official) -> tuple[str, ...]:
    parts = [""] * len(official.images)
    for name in ("trainval", "test_seen", "test_unseen"):
        for i in getattr(official, name):
            parts[i] = name
    return tuple(parts)


def find_splits(root: Path, spec: DatasetSpec) -> Path:
    """Return the folder below `root` that holds the split files of `spec`.

    Raises:
        DataError: There is none; names the datasets that there are.
    """
    if not root.is_dir():
        raise DataError(f"--data-root {root}: no such folder; give the folder that holds xlsa17/.")
    places = ("xlsa17/data", "data", ".")
    for place in places:
        if (root / place / spec.folder / "att_splits.mat").is_file():
            return root / place / spec.folder
    known = [s for s in SPECS.values() if s.folder]
    others = [s.name for s in known for p in places if (root / p / s.folder).is_dir()]
    hint = f"; it holds {', '.join(others)}: use --dataset {others[0]}" if others else ""
    raise DataError(
        f"--data-root {root}: no xlsa17/data/{spec.folder}/att_splits.mat for {spec.name}{hint}."
    )


def open_official(splits: Path, spec: DatasetSpec) -> Official:
    """Read and check the split files in `splits`."""
    split = matlab.load(splits / "att_splits.mat")
    index = matlab.load(_first_file(splits, "res101.mat", "res101_nofeatures.mat"))
    official = Official(
        images=tuple(below(path, spec.markers) for path in matlab.texts(index, "image_files")),
        labels=matlab.integers(index, "labels") - 1,
        classes=tuple(matlab.texts(split, "allclasses_names")),
        attributes=matlab.get(split, "original_att").T.astype(np.float64),
        trainval=matlab.integers(split, "trainval_loc") - 1,
        test_seen=matlab.integers(split, "test_seen_loc") - 1,
        test_unseen=matlab.integers(split, "test_unseen_loc") - 1,
        folds=_read_folds(splits),
    )
    check(official, spec, splits)
    return official


def below(path: str, markers: tuple[str, ...]) -> str:
    """Return the part of an authors' path after its marker folder, double slashes folded.

    With several markers the part starts with its own marker.
    """
    parts = PurePosixPath(path).parts
    places = [len(parts) - parts[::-1].index(marker) for marker in markers if marker in parts]
    last = max(places, default=0)
    return str(PurePosixPath(*parts[max(last - (len(markers) > 1), 0) :]))


def _first_file(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder / names[0]}: no such file; it comes with the xlsa17 splits.")


def _read_folds(splits: Path) -> dict[int, tuple[str, ...]]:
    files = {k: splits / f"valclasses{k}.txt" for k in FOLDS}
    folds = {k: tuple(matlab.lines(file)) for k, file in files.items() if file.is_file()}
    if not folds:
        raise DataError(f"{splits / 'valclasses1.txt'}: no such file; it names the fold's classes.")
    return folds


def _tables(root: Path) -> Path:
    return next(iter(_folders(root, "attribute_data")), root / "attribute_data")


def _find_files(root: Path, images: tuple[str, ...], spec: DatasetSpec) -> tuple[Path, ...]:
    if len(spec.markers) == 1:
        folder = _find_images(root, spec.markers[0], images, spec)
        files = tuple(folder / path for path in images)
    else:
        parts = [(marker, rest) for marker, _, rest in (path.partition("/") for path in images)]
        folders = {
            marker: _find_images(root, marker, [rest for m, rest in parts if m == marker], spec)
            for marker in {marker for marker, _ in parts}
        }
        files = tuple(folders[marker] / rest for marker, rest in parts)
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise DataError(
            f"{missing[0]}: no such image; {len(missing)} of the {len(files)} images that "
            f"the {spec.name} split files name are missing; is the download whole?"
        )
    return files


def _find_images(root: Path, marker: str, images: Sequence[str], spec: DatasetSpec) -> Path:
    """Return the folder that holds most of `images`: a stray or partial copy may come first."""
    folders = _folders(root, marker)
    held = [sum((folder / path).is_file() for path in images) for folder in folders]
    if any(held):
        return folders[held.index(max(held))]
    tried = f" (looked in {', '.join(map(str, folders))}; is the download whole?)" * bool(folders)
    raise DataError(f"--data-root {root}: no folder {marker}/ with {spec.name}'s images{tried}.")


def _folders(root: Path, name: str) -> list[Path]:
    # Three layouts of CUB are in circulation, so a folder may lie at several depths.
    depths = ("", "*/", "*/*/")
    return [f for d in depths for f in sorted(root.glob(f"{d}{name}")) if f.is_dir()]


def _attribute_names(root: Path, spec: DatasetSpec, count: int) -> tuple[str, ...]:
    for name in spec.attribute_files:
        path = root / name
        if path.is_file():
            names = _names_in(path)
            if len(names) != count:
                raise DataError(f"{path}: {len(names)} names for {count} attributes.")
            return names
    return tuple(f"attribute {i + 1}" for i in range(count))


def _names_in(path: Path) -> tuple[str, ...]:
    if path.suffix == ".mat":
        return tuple(matlab.texts(matlab.load(path), "attributes"))
    rows = matlab.lines(path)
    parts = [row.split(maxsplit=1) for row in rows]
    numbered = all(len(part) == 2 and part[0].isdecimal() for part in parts)
    return tuple(part[1] for part in parts) if numbered else tuple(rows)

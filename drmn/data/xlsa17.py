"""The official files of CUB, SUN and AwA2: images and the proposed splits of Xian et al.

`read` returns development data alone. It opens all of the split to check it, because a mistake in
the test part (a mixed-up file, an overlap) is a mistake in the development part too.
"""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.io

from drmn.data.catalogue import FOLDS, Catalogue, file_digests, read_words
from drmn.data.official import Indices, Official, check
from drmn.data.specs import SPECS, DatasetSpec
from drmn.errors import DataError


def read(root: Path, spec: DatasetSpec) -> Catalogue:
    """Return the development part of the dataset below `root`.

    Raises:
        DataError: A file is missing or unreadable, or the files contradict each other.
    """
    splits = find_splits(root, spec)
    official = open_official(splits, spec)
    folder = _find_images(root, spec, official.images[0])
    _check_images_exist(folder, official.images, spec)
    kept = np.unique(official.labels[official.trainval])
    names = tuple(official.classes[c] for c in kept)
    values, mended = _mended(official.attributes[kept], spec)
    paths = tuple(official.images[i] for i in official.trainval)
    return Catalogue(
        dataset=spec.name,
        root=folder,
        images=paths,
        digests=file_digests([folder / path for path in paths]),
        labels=np.searchsorted(kept, official.labels[official.trainval]),
        classes=names,
        attributes=values / np.linalg.norm(values, axis=1, keepdims=True),
        attribute_names=_attribute_names(root, spec, values.shape[1]),
        words=read_words(root / "w2v" / f"{spec.folder}_attribute.npy", values.shape[1]),
        folds=official.folds,
        notes=_differences(official, spec) + mended,
    )


def find_splits(root: Path, spec: DatasetSpec) -> Path:
    """Return the folder below `root` that holds the split files of `spec`.

    Raises:
        DataError: There is none; says which datasets there are instead.
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
    split = _load_mat(splits / "att_splits.mat")
    index = _load_mat(_first_file(splits, "res101.mat", "res101_nofeatures.mat"))
    official = Official(
        images=tuple(below(path, spec.marker) for path in _texts(index, "image_files", splits)),
        labels=_integers(index, "labels", splits) - 1,
        classes=tuple(_texts(split, "allclasses_names", splits)),
        attributes=_get(split, "original_att", splits).T.astype(np.float64),
        trainval=_integers(split, "trainval_loc", splits) - 1,
        test_seen=_integers(split, "test_seen_loc", splits) - 1,
        test_unseen=_integers(split, "test_unseen_loc", splits) - 1,
        folds=_read_folds(splits),
    )
    check(official, spec, splits)
    return official


def below(path: str, marker: str) -> str:
    """Return the part of an authors' path after the folder `marker`, double slashes folded."""
    parts = PurePosixPath(path).parts
    last = len(parts) - parts[::-1].index(marker) if marker in parts else 0
    return str(PurePosixPath(*parts[last:]))


def _load_mat(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = scipy.io.loadmat(path)
    except Exception as problem:  # noqa: BLE001 - scipy raises all kinds
        reason = f"{type(problem).__name__}: {problem}".splitlines()[0]
        raise DataError(f"{path}: not a readable .mat file ({reason}); fetch it again.") from None
    return content


def _first_file(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder / names[0]}: no such file; it comes with the xlsa17 splits.")


def _get(content: dict[str, Any], name: str, splits: Path) -> npt.NDArray[Any]:
    if name not in content:
        have = ", ".join(key for key in content if not key.startswith("__"))
        raise DataError(f"{splits}: the field {name!r} is missing; the files hold {have}.")
    value: npt.NDArray[Any] = content[name]
    return value


def _integers(content: dict[str, Any], name: str, splits: Path) -> Indices:
    # Published as uint8 and uint16, which wrap round when one is subtracted from them.
    return _get(content, name, splits).ravel().astype(np.int64)


def _texts(content: dict[str, Any], name: str, splits: Path) -> list[str]:
    return [str(cell.ravel()[0]) for cell in _get(content, name, splits).ravel()]


def _read_folds(splits: Path) -> dict[int, tuple[str, ...]]:
    folds = {}
    for k in FOLDS:
        file = splits / f"valclasses{k}.txt"
        if file.is_file():
            folds[k] = tuple(line.strip() for line in file.read_text().splitlines() if line.strip())
    if not folds:
        raise DataError(f"{splits / 'valclasses1.txt'}: no such file; it names the fold's classes.")
    return folds


def _find_images(root: Path, spec: DatasetSpec, sample: str) -> Path:
    # Three layouts of CUB are in circulation, so the marker may lie at several depths.
    depths = ("", "*/", "*/*/")
    folders = [f for d in depths for f in sorted(root.glob(f"{d}{spec.marker}")) if f.is_dir()]
    for folder in folders:
        if (folder / PurePosixPath(sample).parts[0]).is_dir():
            return folder
    tried = f" (looked in {', '.join(map(str, folders))})" if folders else ""
    raise DataError(
        f"--data-root {root}: no folder {spec.marker}/ with {spec.name}'s images{tried}."
    )


def _check_images_exist(folder: Path, paths: tuple[str, ...], spec: DatasetSpec) -> None:
    missing = [path for path in paths if not (folder / path).is_file()]
    if missing:
        raise DataError(
            f"{folder / missing[0]}: no such image; {len(missing)} of the {len(paths)} images that "
            f"the {spec.name} split files name are missing."
        )


def _mended(
    values: npt.NDArray[np.float64], spec: DatasetSpec
) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    below_zero = int((values < 0).sum())
    if not below_zero:
        return values, ()
    note = f"{spec.name}: {below_zero} attribute values marked missing (-1) are taken as 0."
    return values.clip(min=0), (note,)


def _differences(official: Official, spec: DatasetSpec) -> tuple[str, ...]:
    images, classes = len(official.images), len(official.classes)
    if (images, classes) == (spec.images, spec.classes):
        return ()
    note = (
        f"{spec.name}: a subset of the published set, {classes} of {spec.classes} classes and "
        f"{images:,} of {spec.images:,} images: do not compare its figures with published ones."
    )
    return (note,)


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
        return tuple(_texts(_load_mat(path), "attributes", path))
    return tuple(
        line.split(maxsplit=1)[1] for line in path.read_text().splitlines() if line.strip()
    )

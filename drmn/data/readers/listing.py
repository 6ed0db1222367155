"""Listing of a dataset's files, and its division into development and the sealed test part.

This is the only module that holds both. Nothing that trains or searches may import it.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from drmn.data.images.catalogue import Catalogue, Integers, fence_of
from drmn.data.images.check import Inspection, same
from drmn.data.images.decode import Photo, photos
from drmn.data.sealed.seal import TestPart
from drmn.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Listing:
    """All images and classes of a dataset, those of the test set too."""

    dataset: str
    images: tuple[str, ...]
    files: tuple[Path, ...]
    boxes: Integers | None = None
    """[image, 4]."""
    labels: Integers
    """[image]: an index into `classes`."""
    splits: tuple[str, ...]
    """Split of each image: trainval, test_seen, test_unseen, or empty for none of them."""
    classes: tuple[str, ...]
    attributes: npt.NDArray[np.float64]
    """[class, attr]: 0 or more, unnormalised."""
    attribute_names: tuple[str, ...]
    words: npt.NDArray[np.float32] | None
    folds: dict[int, tuple[str, ...]]
    notes: tuple[str, ...]

    def photos(self) -> list[Photo]:
        """Return the file and the box of each image."""
        return photos(self.files, self.boxes, self.images)

    @property
    def seen(self) -> Integers:
        """Return the classes that have images in trainval."""
        return np.unique(self.labels[self.of("trainval")])

    def of(self, split: str) -> npt.NDArray[np.bool_]:
        """Return which images are in `split`, or in one whose name starts with it."""
        return np.array([name.startswith(split) for name in self.splits], dtype=bool)

    @property
    def unit(self) -> npt.NDArray[np.float64]:
        """Return the attributes with rows of length 1."""
        lengths = np.linalg.norm(self.attributes, axis=1, keepdims=True)
        return self.attributes / np.where(lengths > 0, lengths, 1)


def development(listing: Listing, found: Inspection) -> Catalogue:
    """Return the development part: readable images of trainval, and their classes."""
    kept = listing.seen
    _check_folds(listing, found)
    mine = listing.of("trainval")
    good = np.array([i not in found.problems for i in range(len(mine))], dtype=bool)
    rows = np.flatnonzero(mine & good)
    skipped = tuple(listing.images[i] for i in np.flatnonzero(mine & ~good))
    test = listing.of("test")
    # Not the classes of test images: their labels would then be part of the digest.
    others = np.delete(np.array(listing.classes), kept)
    return Catalogue(
        dataset=listing.dataset,
        images=tuple(listing.images[i] for i in rows),
        files=tuple(listing.files[i].absolute() for i in rows),  # workers are elsewhere
        digests=tuple(found.digests[i] for i in rows),
        sizes=found.sizes[rows],
        boxes=None if listing.boxes is None else listing.boxes[rows],
        labels=np.searchsorted(kept, listing.labels[rows]),
        classes=tuple(listing.classes[c] for c in kept),
        attributes=listing.unit[kept],
        attribute_names=listing.attribute_names,
        words=listing.words,
        folds=listing.folds,
        fence=fence_of((listing.images[i] for i in np.flatnonzero(test)), others),
        notes=listing.notes + _skipped(skipped, int(sum(test & ~good))) + _twins(listing, found),
        skipped=skipped,
    )


def _check_folds(listing: Listing, found: Inspection) -> None:
    """Raise `DataError` where a side of a fold has too few readable images."""
    good = [i for i in np.flatnonzero(listing.of("trainval")) if i not in found.problems]
    counts = Counter(listing.classes[c] for c in listing.labels[good])
    for fold, held in listing.folds.items():
        train = {name: count for name, count in counts.items() if name not in held}
        for side, classes in (("validation", counts.keys() & set(held)), ("training", train)):
            if not classes:
                raise DataError(
                    f"{listing.dataset}: no {side} class of fold {fold} has a readable image; mend "
                    "the images, or name other classes."
                )
        if max(train.values()) < 2:
            raise DataError(
                f"{listing.dataset}: no training class of fold {fold} has two photos, one to train "
                "and one to validate on; add photos: five a class are a fifth for validation."
            )


def sealed_part(listing: Listing, found: Inspection, catalogue: Catalogue) -> TestPart:
    """Return the part to seal: readable test images, and the classes that only they have.

    Raises:
        DataError: No image of such a class is readable: without it, it would be another test.
    """
    test = np.flatnonzero(listing.of("test"))
    sealed = [i for i in test if i not in found.problems]
    known = set(catalogue.classes)
    unseen = [c for c in np.unique(listing.labels[test]) if listing.classes[c] not in known]
    lost = np.setdiff1d(unseen, listing.labels[sealed])
    if len(lost):
        raise DataError(
            f"{listing.dataset}: no image of the test class {listing.classes[lost[0]]} can be "
            "read; mend its images, as a test without a class is another test."
        )
    return TestPart(
        dataset=listing.dataset,
        development=catalogue.digest,
        images=tuple(listing.images[i] for i in sealed),
        files=tuple(listing.files[i] for i in sealed),
        digests=tuple(found.digests[i] for i in sealed),
        labels=tuple(listing.classes[listing.labels[i]] for i in sealed),
        splits=tuple(listing.splits[i] for i in sealed),
        sizes=found.sizes[sealed],
        boxes=None if listing.boxes is None else listing.boxes[sealed],
        unseen=tuple(listing.classes[c] for c in unseen),
        skipped=tuple(listing.images[i] for i in test if i in found.problems),
        attributes=listing.unit[unseen],
    )


def refuse_bad(listing: Listing, found: Inspection) -> None:
    """Raise `DataError` if an image cannot be read; names the first few and counts the rest."""
    if not found.problems:
        return
    first, *others = found.problems.values()
    names = ", ".join(listing.images[i] for i in list(found.problems)[1:4])
    more = f" So are {len(others)} more of {len(listing.images):,}, such as {names}." * bool(others)
    raise DataError(f"{first}{more}")


def _skipped(names: tuple[str, ...], test: int) -> tuple[str, ...]:
    notes = []
    if names:
        notes.append(f"{len(names)} images cannot be read and are skipped, such as {names[0]}.")
    if test:  # by number alone: what is sealed is not named
        notes.append(f"{test} images of the test split cannot be read and are skipped.")
    return tuple(notes)


def _twins(listing: Listing, found: Inspection) -> tuple[str, ...]:
    """Return a note on files of one content: across trainval and test they leak a little."""
    if listing.boxes is not None:  # one photo shows several objects
        return ()
    mine, test = listing.of("trainval"), listing.of("test")
    pairs = [pair for pair in same(found.digests) if pair[0] not in found.problems]
    ours = [(new, old) for old, new in pairs if mine[[old, new]].all()]
    across = sum(test[old] != test[new] for old, new in pairs)
    notes = []
    if ours:
        new, old = (listing.images[i] for i in ours[0])
        notes.append(f"{len(ours)} images are copies of another file, such as {new} of {old}.")
    if across:  # by number alone: what is sealed is not named
        notes.append(f"{across} images of the test split are copies of images of trainval.")
    return tuple(notes)

"""A fold of the development data as photos, for a network that has its backbone in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from jaxtyping import Int
from torch import Tensor

from drmn.config import Augment
from drmn.data.images import decode
from drmn.data.images.catalogue import Catalogue
from drmn.data.images.decode import Photo, Preprocess
from drmn.data.splits.development import Batch, Fold, parts_of
from drmn.data.splits.division import OFFICIAL, Division, SplitPart
from drmn.data.splits.epoch_rng import EpochRng
from drmn.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Photographs:
    """Some photos; decoded on demand, the next batch while the caller works on this one."""

    photos: Sequence[Photo]
    labels: Int[Tensor, " image"]
    part: SplitPart
    """The split that they belong to."""
    preprocess: Preprocess
    augment: Augment = "none"
    """Augmentation in training."""

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.photos)

    def stream(
        self, parts: Sequence[Int[Tensor, " _"]], chance: EpochRng | None = None
    ) -> Iterator[Batch]:
        """Yield the photos at each part's positions; in training with the crop of this epoch."""
        view = 0 if chance is None or self.augment == "none" else 1 + chance.number
        shown = [[replace(self.photos[i], view=view) for i in part.tolist()] for part in parts]
        colored = self.augment == "color"
        pixels = decode.stream(shown, self.preprocess, colored=colored)
        for part, batch in zip(parts, pixels, strict=True):
            yield Batch(batch, self.labels[part])


def open_photos(
    catalogue: Catalogue,
    preprocess: Preprocess,
    division: Division = OFFICIAL,
    *,
    augment: Augment = "none",
) -> Fold[Photographs]:
    """Return a division of a dataset's photos.

    Raises:
        ConfigError: There is no such division.
        DataError: The catalogue has no photos, or a sealed one is among them.
    """
    if not catalogue.files:
        raise DataError(
            f"{catalogue.dataset}: there are no photos to train a backbone on; use --tier frozen."
        )
    every = catalogue.photos()

    def make(
        rows: Int[Tensor, " image"], labels: Int[Tensor, " image"], part: SplitPart
    ) -> Photographs:
        return Photographs([every[i] for i in rows.tolist()], labels, part, preprocess, augment)

    return Fold(*parts_of(catalogue, division, make), f"{catalogue.digest}-{preprocess.size}px")

"""From image files to batches of pixels."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from drmn import vision
from drmn.data.images.pixels import UnreadableError, decode_bytes
from drmn.errors import DataError

Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels."""


@dataclass(frozen=True, slots=True)
class Photo:
    """An image file, and the box of it that is the image."""

    file: Path
    box: Box | None = None
    name: str = ""
    """Its name in the catalogue."""
    view: int = 0
    """0 for the evaluation transform; others are augmented at random, seeded by the name and the
    view alone."""


def photos(
    files: Sequence[Path], boxes: npt.NDArray[np.int64] | None, names: Sequence[str]
) -> list[Photo]:
    """Return the file and the box of each image, given the boxes [image, 4] or none."""
    shown: list[Box | None] = [None] * len(files)
    if boxes is not None:
        shown = [(int(a), int(b), int(c), int(d)) for a, b, c, d in boxes]
    return [Photo(*parts) for parts in zip(files, shown, names, strict=True)]


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Input transform of a backbone's weights: a square crop, normalised by channel."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str

    def transform(self) -> "vision.v2.Transform":
        """Return the evaluation transform: shorter side to `size`, centre crop, normalise."""
        return vision.v2.Compose([self.crop(), self.normal()])

    def crop(self) -> "vision.v2.Transform":
        """Return the evaluation transform without normalisation, for pictures to show."""
        resize = vision.v2.Resize(self.size, interpolation=self._how, antialias=True)
        return vision.v2.Compose([resize, vision.v2.CenterCrop(self.size)])

    def augmented(
        self, pixels: Tensor, photo: Photo, *, colored: bool = False
    ) -> Float[Tensor, "3 height width"]:
        """Return a training view: shorter side to 8/7 of `size`, a random crop, half flipped.

        It depends neither on the order of images, nor on threads or the machine.

        Args:
            pixels: Pixels of the whole photo.
            photo: Its name and view are the seed.
            colored: Change brightness, contrast and saturation too, by up to `JITTER`.
        """
        large = vision.v2.functional.resize(
            pixels, [round(self.size * 8 / 7)], interpolation=self._how, antialias=True
        )
        seed = hashlib.sha256(f"{photo.view}:{photo.name}".encode()).digest()
        x, y, flip, tone = (int.from_bytes(seed[i : i + 8], "big") / 2**64 for i in (0, 8, 16, 24))
        top, left = (
            round((s - self.size) * p) for s, p in zip(large.shape[1:], (y, x), strict=True)
        )
        crop = vision.v2.functional.crop(large, top, left, self.size, self.size)
        if colored:
            crop = _toned(crop, tone)
        out: Tensor = self.normal()(crop.flip(-1) if flip < 0.5 else crop)
        return out

    @property
    def _how(self) -> "vision.InterpolationMode":
        return vision.InterpolationMode(self.interpolation)

    def normal(self) -> "vision.v2.Transform":
        """Return the last part of the transform: to [0, 1], then normalised by channel."""
        to_float = vision.v2.ToDtype(torch.float32, scale=True)
        return vision.v2.Compose([to_float, vision.v2.Normalize(list(self.mean), list(self.std))])


JITTER = 0.4
"""Maximum relative change of a photo's brightness, contrast or saturation."""


def _toned(pixels: Tensor, tone: float) -> Tensor:
    """Return pixels in another tone; `tone` in [0, 1) is cut into three random numbers."""
    for change in (
        vision.v2.functional.adjust_brightness,
        vision.v2.functional.adjust_contrast,
        vision.v2.functional.adjust_saturation,
    ):
        tone *= 1024
        pixels = change(pixels, 1 + JITTER * (2 * (tone % 1) - 1))
        tone %= 1
    return pixels


def load(path: Path, box: Box | None = None) -> Tensor:
    """Return the uint8 pixels [3, height, width] of an image file, upright, or of a box in it.

    Raises:
        DataError: The file is not an image that can be decoded, or the box is outside it.
    """
    try:
        pixels = decode_bytes(path.read_bytes())
    except OSError as problem:  # a dangling link, no right to read it
        raise DataError(f"{path}: not a readable image ({problem.strerror}).") from None
    except UnreadableError as problem:
        raise DataError(
            f"{path}: not a readable image ({problem}); {problem.remedy}, or use --on-bad skip."
        ) from None
    if box is None:
        return pixels
    left, top, right, bottom = box
    shown = pixels[:, max(top, 0) : bottom, max(left, 0) : right]
    if not shown.numel():
        raise DataError(
            f"{path}: the box {box} shows nothing of its {pixels.shape[2]} x {pixels.shape[1]} "
            "pixels; is attribute_data of another copy?"
        )
    return shown


def stream(
    batches: Sequence[Sequence[Photo]],
    preprocess: Preprocess,
    *,
    threads: int = 2,
    colored: bool = False,
) -> Iterator[Float[Tensor, "image 3 height width"]]:
    """Yield the pixels of each batch, decoding the next one while the caller works on this one."""
    plain = preprocess.transform()

    def pixels(photo: Photo) -> Tensor:
        raw = load(photo.file, photo.box)
        return preprocess.augmented(raw, photo, colored=colored) if photo.view else plain(raw)

    def batch_of(decoded: list[Future[Tensor]]) -> Tensor:
        if not decoded:  # a worker's share of a small batch
            return torch.empty(0, 3, preprocess.size, preprocess.size)
        return torch.stack([done.result() for done in decoded])

    with ThreadPoolExecutor(threads) as pool:
        waiting = None
        for batch in batches:
            coming = [pool.submit(pixels, photo) for photo in batch]
            if waiting is not None:
                yield batch_of(waiting)
            waiting = coming
        if waiting is not None:
            yield batch_of(waiting)

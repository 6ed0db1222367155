"""From image files to batches of pixels."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import InterpolationMode, v2

from drmn.errors import DataError


@dataclass(frozen=True, slots=True)
class Preprocess:
    """What a backbone's weights expect of their input: a square crop, normalised by channel."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str

    def transform(self) -> v2.Transform:
        """Return the evaluation transform: shorter side to `size`, centre crop, normalise."""
        how = InterpolationMode(self.interpolation)
        return v2.Compose(
            [
                v2.Resize(self.size, interpolation=how, antialias=True),
                v2.CenterCrop(self.size),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(list(self.mean), list(self.std)),
            ]
        )


def load(path: Path) -> Tensor:
    """Return the uint8 pixels [3, height, width] of an image file.

    Raises:
        DataError: The file is not an image that can be decoded.
    """
    try:
        return decode_image(str(path), mode=ImageReadMode.RGB)
    except RuntimeError as problem:
        reason = str(problem).splitlines()[0].rpartition("] ")[2]  # less torchvision's own paths
        raise DataError(
            f"{path}: not a readable image ({reason}); fetch it again, or use --on-bad skip."
        ) from None


def unreadable(folder: Path, paths: Sequence[str]) -> list[str]:
    """Return those of `paths` below `folder` that cannot be decoded."""
    with ThreadPoolExecutor() as pool:
        readable = list(pool.map(lambda path: _readable(folder / path), paths))
    return [path for path, ok in zip(paths, readable, strict=True) if not ok]


def _readable(path: Path) -> bool:
    try:
        load(path)
    except DataError:
        return False
    return True


def stream(
    paths: Sequence[Path], preprocess: Preprocess, *, batch: int, threads: int = 2
) -> Iterator[Float[Tensor, "image 3 height width"]]:
    """Yield the images in order, decoding the next batch while the caller works on this one."""
    transform = preprocess.transform()
    with ThreadPoolExecutor(threads) as pool:
        waiting = None
        for start in range(0, len(paths), batch):
            part = paths[start : start + batch]
            coming = [pool.submit(lambda p: transform(load(p)), path) for path in part]
            if waiting is not None:
                yield torch.stack([pixels.result() for pixels in waiting])
            waiting = coming
        if waiting is not None:
            yield torch.stack([pixels.result() for pixels in waiting])

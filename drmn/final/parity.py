"""An export that is checked before it is there: the file answers as the package does."""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from drmn.errors import ConfigError
from drmn.final.export import TOLERANCE, export
from drmn.final.exported import Exported
from drmn.tracking.model_package import Package
from drmn.units import MEGABYTE

MOST = 64
"""Photos that are looked at."""
RANDOM = 4
"""Random images, where no photo is given."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How far an exported file was found from its package."""

    images: int
    of: str
    """What the images were: photos, or random pixels."""
    largest: float
    """Largest difference of a probability or attribute score."""
    megabytes: float

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def checked_export(package: Package, file: Path, photos: Sequence[Path] = ()) -> Parity:
    """Write a packed network into `file`, once that was found to answer as the package does.

    Args:
        package: The packed network.
        file: The file, `.onnx` or `.pt2`; one that is there is replaced.
        photos: Photos to compare on, the first 64 of them; by default random pixels.

    Raises:
        ConfigError: The file cannot be written, or it answers otherwise.
        DataError: A photo cannot be read.
    """
    building = file.with_name(f".{file.stem}.part{file.suffix}")
    try:
        building.touch()
    except OSError as problem:
        raise ConfigError(f"--out {file}: {problem.strerror}; give another place.") from None
    try:
        export(package, building)
        content = [photo.read_bytes() for photo in photos[:MOST]] or _random(package)
        largest = difference(package, Exported(building), content)
        if not largest <= TOLERANCE:
            raise ConfigError(
                f"--out {file}: the exported network differs by {largest:.1e} from the model, more "
                f"than {TOLERANCE:.0e}; nothing was written."
            )
        found = Parity(
            len(content),
            "photos" if photos else "random images",
            largest,
            building.stat().st_size / MEGABYTE,
        )
        building.replace(file)
    finally:
        building.unlink(missing_ok=True)
    return found


def difference(package: Package, exported: Exported | Package, photos: Sequence[bytes]) -> float:
    """Return the largest difference of a probability or an attribute score."""
    largest = 0.0
    for photo in photos:
        one, two = package.classify([photo]), exported.classify([photo])
        for a, b in ((one.probabilities, two.probabilities), (one.attributes, two.attributes)):
            largest = max(largest, float((a - b).abs().max()))
    return largest


def _random(package: Package) -> list[bytes]:
    chance, size = torch.Generator().manual_seed(0), package.backbone.preprocess.size
    found = []
    for _ in range(RANDOM):
        pixels = torch.randint(0, 256, (size, size, 3), generator=chance, dtype=torch.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels.numpy()).save(file, "PNG")
        found.append(file.getvalue())
    return found

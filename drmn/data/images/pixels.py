"""Pixels of an image file, from its bytes: the one decoder of datasets and of packed models.

JPEG, GIF and WebP are decoded by torchvision, everything else by Pillow: torchvision's decoder of
PNG ends the process where a file is damaged. All come as viewers show them: 8 bits a channel, and
upright.
"""

import io
import re
import warnings

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from drmn import vision

# Of EXIF data that are damaged: there are none then. Photos are decoded in threads, and a filter
# for a `with` block would be that of all of them.
warnings.filterwarnings("ignore", module=r"PIL\.")

Pixels = UInt8[Tensor, "3 _ _"]
"""Pixels [3, height, width]."""

ORIENTATION = 0x0112
"""The EXIF tag: 1 is upright, 2 to 8 are mirrored or turned."""
_SUBFILE, _DNG = 0x00FE, 0xC612
"""TIFF tags: the kind of the first page, of which bit 0 is a preview; the version of a DNG."""
_BY_TORCHVISION = (b"\xff\xd8\xff", b"GIF8")
_EXIF_MARKS = (b"Exif\0\0", b"eXIf", b"EXIF")
"""Marks of EXIF data in JPEG, PNG and WebP."""
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


MOST_PIXELS = 100_000_000
"""Pixels of an image at most."""
CONVERT = "convert it to JPEG or PNG"


class UnreadableError(ValueError):
    """Bytes that are no image, or none that can be decoded; its text says why, without a name."""

    def __init__(self, reason: str, remedy: str = "fetch it again") -> None:
        super().__init__(reason)
        self.remedy = remedy


def decode_bytes(content: bytes) -> Pixels:
    """Return the pixels of an image file: uint8, upright, three channels whatever it has.

    Of several pages of a TIFF the first is taken; transparency is dropped.

    Raises:
        UnreadableError: It is empty, cut short, of an unknown format, or it moves; or it has more
            than 100 million pixels, which may be 400 kB of a file and gigabytes of memory.
    """
    if not content:
        raise UnreadableError("it is empty")
    if (count := _pixel_count(content)) > MOST_PIXELS:
        raise UnreadableError(
            f"it has {count / 1e6:.0f} million pixels, more than {MOST_PIXELS / 1e6:.0f}",
            "make it smaller",
        )
    if not (content.startswith(_BY_TORCHVISION) or content[8:12] == b"WEBP"):
        return _by_pillow(content)
    try:
        pixels = vision.decode_image(
            torch.frombuffer(bytearray(content), dtype=torch.uint8), mode=vision.ImageReadMode.RGB
        )
    except (RuntimeError, ValueError) as problem:
        raise UnreadableError(_without_paths(str(problem))) from None
    if pixels.ndim != 3:
        raise UnreadableError("it moves", "keep one picture of it")
    return _upright(pixels, _orientation(content))


def is_converted(content: bytes) -> bool:
    """Return whether decoding turns the stored picture, or takes 16 bits to 8."""
    sixteen = content.startswith(b"\x89PNG") and content[24:25] == b"\x10"
    return sixteen or _orientation(content) != 1


def _pixel_count(content: bytes) -> int:
    """Return the number of pixels by the head of an image file; 0 where that cannot be read."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.width * image.height
    except Image.DecompressionBombError as problem:  # Pillow counts them, and says no more
        return int(next(iter(re.findall(r"\((\d+) pixels\)", str(problem))), 2 * MOST_PIXELS))
    except Exception:  # noqa: BLE001 - the decoder says what is wrong with it
        return 0


def _eight_bits(pixels: Tensor) -> Pixels:
    """Return uint8 pixels: 65,535 is 255. Resizing wraps round in uint16."""
    if pixels.dtype == torch.uint8:
        return pixels
    return ((pixels.int() * 255 + 32_767) // 65_535).to(torch.uint8)


def _orientation(content: bytes) -> int:
    if not any(mark in content for mark in _EXIF_MARKS):
        return 1
    try:
        with Image.open(io.BytesIO(content)) as image:
            found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF data raise all kinds; the pixels are whole
        return 1
    return found if found in range(1, 9) else 1


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    if orientation > 4:  # rows are columns
        pixels = pixels.transpose(1, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels.flip(2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels.flip(1)
    return pixels.contiguous()


def _by_pillow(content: bytes) -> Pixels:
    if content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS:
        raise UnreadableError("HEIC is not supported", CONVERT)
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.verify()  # a PNG's checksums, which decoding passes over
        with Image.open(io.BytesIO(content)) as image:
            _refuse_other_than_one_picture(image, content)
            return _channels(ImageOps.exif_transpose(image))
    except UnreadableError:
        raise
    except UnidentifiedImageError:
        raise UnreadableError("it is no image of a known format") from None
    except Exception as problem:  # noqa: BLE001 - Pillow's decoders raise all kinds
        raise UnreadableError(_without_paths(str(problem) or type(problem).__name__)) from None


def _refuse_other_than_one_picture(image: Image.Image, content: bytes) -> None:
    if image.format != "TIFF":
        if getattr(image, "is_animated", False):
            raise UnreadableError("it moves", "keep one picture of it")
        return
    tags = image.getexif()
    # A camera's raw file is a TIFF that begins with a small preview.
    if _DNG in tags or tags.get(_SUBFILE, 0) & 1 or content[8:10] == b"CR":
        raise UnreadableError("raw files of cameras are not supported", CONVERT)


def _channels(image: Image.Image) -> Pixels:
    if image.mode.startswith("I;16"):
        grey = torch.from_numpy(np.asarray(image).astype(np.int32))
        return _eight_bits(grey.expand(3, -1, -1))
    if image.mode in ("I", "F"):
        raise UnreadableError("its pixels have 32 bits, and nothing says what is white", CONVERT)
    # A copy: Pillow's own array may not be written to.
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()


def _without_paths(reason: str) -> str:
    """Return the words of a decoder's error without the source file that raised it."""
    first = reason.strip().splitlines()[0]
    words = re.sub(r"^.*\.(?:cpp|cc|h|py):\d+\]?[,:]?\s*", "", first).rstrip(".")
    unclear = re.search(r"/\w|\.cpp|<_io\.|^Unsupported image file", words)
    return "it cannot be decoded" if unclear else words

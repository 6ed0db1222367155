"""One decoder: 8 bits, upright, and reasons in plain words."""

import hashlib
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from drmn.config import ModelConfig, RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.data.images.check import inspect
from drmn.data.images.decode import Photo, Preprocess, load, stream
from drmn.data.images.pixels import ORIENTATION, UnreadableError, decode_bytes, is_converted
from drmn.data.splits.development import Classes
from drmn.evaluation.ensemble import Rule
from drmn.model.backbone import Backbone
from drmn.model.network import DRMN
from drmn.tracking.model_package import Package

CHANCE = np.random.default_rng(0)
PICTURE = Image.fromarray(CHANCE.integers(0, 255, (40, 64, 3), dtype=np.uint8))
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA")
CLASSES = Classes(names=("a", "b"), attributes=torch.eye(2), seen=torch.tensor([True, False]))
NETWORK = DRMN(ModelConfig(levels="32", sit="none"), {32: 8}, attributes=2, seen=1)
OF_RANDOM = Preprocess(32, (0.0,) * 3, (1.0,) * 3, "bicubic")


def encoded(picture, form, **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def turned(form, orientation, **options):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(PICTURE, form, exif=exif, **options)


def shown(content):
    """Return the pixels as a viewer shows them, by Pillow."""
    with Image.open(io.BytesIO(content)) as image:
        return torch.from_numpy(np.array(ImageOps.exif_transpose(image).convert("RGB")))


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_is_read(form):
    pixels = decode_bytes(encoded(PICTURE, form))
    assert (pixels.dtype, pixels.shape) == (torch.uint8, (3, 40, 64))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_seen_upright(form, orientation):
    content = turned(form, orientation)
    want = shown(content).permute(2, 0, 1)
    assert (decode_bytes(content).int() - want.int()).abs().max() <= 2  # decoders round


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight_to_rounding(form):
    values = np.linspace(0, 65_535, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    pixels = decode_bytes(encoded(Image.fromarray(values), form))
    assert pixels.dtype == torch.uint8
    np.testing.assert_array_equal(pixels[0], (values / 257).round())
    assert torch.equal(pixels[0], pixels[2])


def test_a_batch_of_eight_and_sixteen_bits_is_one_of_equal_values(tmp_path):
    grey = CHANCE.integers(0, 255, (48, 48), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    photos = [Photo(tmp_path / "8.png"), Photo(tmp_path / "16.png", view=1, name="a")]
    (batch,) = stream([photos], OF_RANDOM, colored=True)
    assert batch.isfinite().all()
    assert torch.equal(*(load(photo.file) for photo in photos))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_file_cut_short_is_refused_without_a_path_of_the_decoder(form):
    content = encoded(PICTURE, form)
    with pytest.raises(UnreadableError) as refused:
        decode_bytes(content[: len(content) // 2])
    assert not re.search(r"\.cpp|/|<_io", str(refused.value))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"<html>404</html>", "it is no image of a known format"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC is not supported"),
        (b"RIFF\0\0\0\0WEBPxxxxxx", "it cannot be decoded"),
        (encoded(PICTURE, "GIF", save_all=True, append_images=[PICTURE.rotate(90)]), "it moves"),
        (encoded(PICTURE, "AVIF", save_all=True, append_images=[PICTURE.rotate(9)]), "it moves"),
        (encoded(PICTURE.convert("F"), "TIFF"), "its pixels have 32 bits"),
        (encoded(PICTURE, "TIFF", tiffinfo={254: 1}), "raw files of cameras are not supported"),
    ],
)
def test_what_is_no_photo_is_refused_with_the_reason(content, words):
    with pytest.raises(UnreadableError, match=words):
        decode_bytes(content)


def test_a_photo_that_is_decoded_otherwise_than_before_has_a_digest_of_its_own(tmp_path):
    """Features that were made of the pixels lying on their side must not be taken for these."""
    plain, sideways = encoded(PICTURE, "JPEG"), turned("JPEG", 6)
    deep = encoded(Image.fromarray(np.zeros((32, 32), dtype=np.uint16)), "PNG")
    contents = [plain, sideways, deep]
    assert [is_converted(content) for content in contents] == [False, True, True]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.jpg").write_bytes(content)
    photos = [Photo(tmp_path / f"{number}.jpg") for number in range(3)]
    found = inspect(photos, tmp_path / "images.db")
    assert found.sizes.tolist() == [[40, 64], [64, 40], [32, 32]]
    same = [found.digests[i] == digest(content) for i, content in enumerate(contents)]
    assert same == [True, False, False]


def digest(content):
    return hashlib.sha256(content).hexdigest()[:16]


@pytest.mark.parametrize("name", ["exif/images/ant/0.jpg", "png16grey/images/ant/0.png"])
def test_a_packed_model_sees_what_the_reader_sees(shared, name):
    file = shared("field") / name
    features = FeatureConfig(weights="random", image_size=32, levels="32")
    package = Package(Backbone(features), NETWORK, RunConfig(), CLASSES, Rule())
    (batch,) = stream([[Photo(file)]], package.backbone.preprocess)
    assert torch.equal(package.maps([file.read_bytes()])[32], package.backbone(batch)[32])


def test_the_field_s_photo_of_sixteen_bits_is_that_of_eight(shared):
    for file in sorted((shared("field") / "png16grey" / "images" / "ant").iterdir()):
        pixels = load(file)
        assert pixels.dtype == torch.uint8
        with Image.open(file) as image:
            if image.mode.startswith("I"):
                want = torch.from_numpy((np.asarray(image) / 257).round())
                assert torch.equal(pixels[0].double(), want)


@pytest.mark.long
@pytest.mark.parametrize("side", [10_001, 14_000, 40_000])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_small_file_of_too_many_pixels_is_refused_before_it_takes_memory(side, kind):
    file = io.BytesIO()
    more = {"compression": "group4"} if kind == "TIFF" else {}
    Image.new("1", (side, side)).save(file, kind, **more)
    content = file.getvalue()
    assert len(content) < 2_000_000
    millions = f"{side * side / 1e6:.0f} million pixels, more than 100"
    with pytest.raises(UnreadableError, match=millions) as refused:
        decode_bytes(content)
    assert refused.value.remedy == "make it smaller"


def test_a_flipped_byte_of_a_png_is_refused_and_ends_no_process():
    """torchvision's decoder of PNG reads wild memory where libpng finds the data damaged."""
    content = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise // 32 * 32).save(content, "PNG")  # so few colours that it is compressed
    whole = content.getvalue()
    for place in range(8, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        try:
            same = torch.equal(decode_bytes(bytes(damaged)), decode_bytes(whole))
        except UnreadableError:
            same = True
        assert same

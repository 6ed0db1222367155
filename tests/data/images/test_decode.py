"""Images: from files to pixels, in order, and a bad one by its name."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from drmn.data.images.decode import Photo, Preprocess, load, stream
from drmn.errors import DataError

PLAIN = Preprocess(32, (0.0,) * 3, (1.0,) * 3, "bicubic")
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def grey_files(folder, count):
    """Files whose every pixel says which file they are."""
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.new("RGB", (40 + number, 36), (number, 2 * number, 0)).save(path)
    return paths


def batches(paths, size):
    photos = [Photo(path) for path in paths]
    return [photos[start : start + size] for start in range(0, len(photos), size)]


def banded(path, size, colours):
    """Save an image of bands of one width, side by side."""
    band = Image.new("RGB", (len(colours), 1))
    band.putdata(colours)
    band.resize(size, Image.Resampling.NEAREST).save(path)
    return path


def test_the_middle_of_a_wide_image_is_kept(tmp_path):
    # 128 x 32 in four bands: the square in the middle is columns 48 to 80, half red, half green.
    path = banded(tmp_path / "wide.png", (128, 32), [BLUE, RED, GREEN, BLUE])
    pixels = PLAIN.transform()(load(path))
    assert pixels.shape == (3, 32, 32)
    want = torch.zeros(3, 32, 32)
    want[0, :, :16] = want[1, :, 16:] = 1
    torch.testing.assert_close(pixels, want)


def test_the_shorter_side_decides_the_size_of_a_tall_image(tmp_path):
    # 64 x 256 becomes 32 x 128, of which the middle 32 rows are the red and green bands' meeting.
    path = banded(tmp_path / "wide.png", (256, 64), [BLUE, RED, GREEN, BLUE])
    with Image.open(path) as wide:
        wide.transpose(Image.Transpose.TRANSPOSE).save(tmp_path / "tall.png")
    pixels = PLAIN.transform()(load(tmp_path / "tall.png"))
    assert pixels.shape == (3, 32, 32)
    assert (pixels[0, :12].mean(), pixels[1, -12:].mean()) == pytest.approx((1, 1), abs=0.01)
    assert pixels[2].max() < 0.01  # no blue


def test_a_small_image_is_enlarged(tmp_path):
    Image.new("RGB", (5, 9), RED).save(tmp_path / "small.png")
    pixels = PLAIN.transform()(load(tmp_path / "small.png"))
    torch.testing.assert_close(pixels.mean(dim=(1, 2)), torch.tensor([1.0, 0, 0]))


def test_each_channel_is_normalised_by_its_own_mean_and_deviation(tmp_path):
    Image.new("RGB", (32, 32), (255, 51, 0)).save(tmp_path / "a.png")
    normal = Preprocess(32, (0.5, 0.1, 0.25), (0.5, 0.1, 0.5), "bilinear")
    pixels = normal.transform()(load(tmp_path / "a.png"))
    want = torch.tensor([(1 - 0.5) / 0.5, (51 / 255 - 0.1) / 0.1, (0 - 0.25) / 0.5])
    want = want[:, None, None].expand(3, 32, 32)
    torch.testing.assert_close(pixels, want)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "LA"])
def test_whatever_its_colours_an_image_has_three_channels(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (20, 10), (255, 255, 255)).convert(mode).save(path)
    pixels = load(path)
    assert pixels.shape == (3, 10, 20)
    assert pixels.dtype == torch.uint8
    assert pixels.min() >= 250


def test_a_grey_photo_has_three_equal_channels(tmp_path):
    chance = np.random.default_rng(0).integers(0, 255, (16, 16), dtype=np.uint8)
    Image.fromarray(chance).save(tmp_path / "grey.png")
    pixels = load(tmp_path / "grey.png")
    assert torch.equal(pixels, torch.from_numpy(chance).expand(3, 16, 16))


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.95])
def test_a_jpeg_cut_short_is_refused_by_name(tmp_path, share):
    path = tmp_path / "cut.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: not a readable image"):
        load(path)


def test_a_page_of_html_is_no_image(tmp_path):
    path = tmp_path / "bird.jpg"
    path.write_text("<html>429 Too Many Requests</html>")
    with pytest.raises(
        DataError, match=f"^{re.escape(str(path))}: .*; fetch it again, or use --on-bad skip.$"
    ):
        load(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=f"^{re.escape(str(tmp_path / 'none.jpg'))}: "):
        load(tmp_path / "none.jpg")


@pytest.mark.parametrize("batch", [1, 4, 11, 64])
def test_a_stream_is_the_files_in_order_one_by_one(tmp_path, batch):
    paths = grey_files(tmp_path, 11)
    parts = list(stream(batches(paths[::-1], batch), PLAIN, threads=3))
    assert [len(part) for part in parts[:-1]] == [batch] * (len(parts) - 1)
    alone = torch.stack([PLAIN.transform()(load(path)) for path in paths[::-1]])
    assert torch.equal(torch.cat(parts), alone)
    shown = (255 * alone[:, 0, 0, 0]).round().int().tolist()
    assert shown == list(range(10, -1, -1))


def test_no_files_are_no_batches():
    assert list(stream([], PLAIN)) == []


def test_a_bad_file_ends_a_stream_at_its_batch_by_name(tmp_path):
    paths = grey_files(tmp_path, 8)
    paths[5].write_text("no image")
    parts = stream(batches(paths, 2), PLAIN)
    assert len([next(parts), next(parts)]) == 2
    with pytest.raises(DataError, match=re.escape(str(paths[5]))):
        next(parts)


# Boxes: aPY's photos show several objects.


def test_a_box_is_what_is_shown(tmp_path):
    path = banded(tmp_path / "wide.png", (128, 32), [BLUE, RED, GREEN, BLUE])
    pixels = load(path, (40, 4, 64, 20))  # columns 32 to 64 are red
    assert pixels.shape == (3, 16, 24)
    assert pixels[0].min() == 255
    assert pixels[1:].max() == 0


def test_a_box_that_sticks_out_is_cut_at_the_edge(tmp_path):
    path = banded(tmp_path / "wide.png", (128, 32), [BLUE, RED, GREEN, BLUE])
    assert load(path, (100, 10, 140, 40)).shape == (3, 22, 28)


@pytest.mark.parametrize("box", [(130, 0, 140, 10), (10, 10, 10, 20), (0, 40, 10, 50)])
def test_a_box_that_shows_nothing_is_refused(tmp_path, box):
    path = banded(tmp_path / "wide.png", (128, 32), [BLUE, RED, GREEN, BLUE])
    message = f"{path}: the box {box} shows nothing of its 128 x 32 pixels"
    with pytest.raises(DataError, match=re.escape(message)):
        load(path, box)


# Augmented views.


@pytest.fixture
def noise(tmp_path):
    chance = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(chance).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def view(path, number, name="a/1.jpg"):
    (pixels,) = stream([[Photo(path, name=name, view=number)]], PLAIN)
    return pixels[0]


def test_views_differ_from_each_other_and_from_the_plain_image(noise):
    views = [view(noise, number) for number in range(5)]
    assert all(v.shape == (3, 32, 32) for v in views)
    pairs = [(a, b) for i, a in enumerate(views) for b in views[:i]]
    assert all(not torch.equal(a, b) for a, b in pairs)
    assert torch.equal(views[0], PLAIN.transform()(load(noise)))


def test_a_view_depends_on_the_image_s_name_and_its_number_alone(noise):
    alone = view(noise, 3)
    torch.manual_seed(5)
    batch = [Photo(noise, name=name, view=3) for name in ("x", "a/1.jpg", "y")]
    (together,) = stream([batch], PLAIN, threads=3)
    assert torch.equal(together[1], alone)
    assert not torch.equal(together[0], alone)


def test_about_half_of_the_views_are_flipped_and_all_show_most_of_the_image(tmp_path):
    """White left, black right: which side is bright says whether a view is flipped."""
    path = banded(tmp_path / "half.png", (40, 40), [(255, 255, 255), (0, 0, 0)])
    left = [view(path, 1, name=str(i))[0, :, :16].mean() for i in range(100)]
    flipped = sum(bool(mean < 0.5) for mean in left)
    assert 30 < flipped < 70
    assert all(mean < 0.2 or mean > 0.7 for mean in left)  # the edge is near the middle

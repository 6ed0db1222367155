"""Photos in class folders as people have them."""

import re

import numpy as np
import pytest
from PIL import Image

from drmn.data.images.check import inspect
from drmn.data.images.decode import Photo
from drmn.data.readers.class_photos import find_photos
from drmn.errors import DataError

NAMES = ["ant", "fourmi é"]


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        (tmp_path / "images" / name).mkdir(parents=True)
        save(tmp_path / "images" / name / "1.png")
    return tmp_path / "images"


def save(path, form=None):
    chance = np.random.default_rng(len(str(path)))
    pixels = chance.integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, form)


def test_photos_of_every_suffix_are_read(folder):
    forms = {".bmp": None, ".tif": None, ".tiff": None, ".jfif": "JPEG", ".webp": None}
    forms |= {".avif": None, ".JPG": "JPEG", ".gif": None, ".jp2": None}
    for suffix, form in forms.items():
        save(folder / "ant" / f"2{suffix}", form)
    found = find_photos(folder, NAMES).paths["ant"]
    assert len(found) == 1 + len(forms)
    photos = [Photo(path) for path in found.values()]
    assert inspect(photos, folder.parent / "images.db").problems == {}


@pytest.mark.parametrize("name", ["a.heic", "a.jxl", "a.cr3", "a.NEF"])
def test_a_photo_that_cannot_be_read_is_named_not_dropped(folder, name):
    (folder / "ant" / name).write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    found = find_photos(folder, NAMES).paths["ant"]
    (problem,) = inspect(
        [Photo(path) for path in found.values()], folder.parent / "images.db"
    ).problems.values()
    assert problem.startswith(f"{folder / 'ant' / name}: not a readable image")


def test_a_folder_name_of_macos_is_that_of_the_table(folder):
    (folder / "fourmi é").rename(folder / "fourmi e\u0301")
    save(folder / "fourmi e\u0301" / "e\u0301.png")
    found = find_photos(folder, NAMES).paths["fourmi é"]
    assert list(found) == ["fourmi é/1.png", "fourmi é/é.png"]
    assert all(path.is_file() for path in found.values())


def test_two_folders_of_one_name_are_refused(folder):
    (folder / "fourmi e\u0301").mkdir()
    with pytest.raises(DataError, match="two folders are called 'fourmi é'"):
        find_photos(folder, NAMES)


def test_what_is_left_out_is_said_in_a_note_each(folder):
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "ant" / "._1.png").write_bytes(b"\0\5\x16\7")
    (folder / "ant" / "notes.txt").touch()
    save(folder / "loose.png")
    (folder / "ant" / "up").symlink_to(folder)
    found = find_photos(folder, NAMES)
    assert list(found.paths["ant"]) == ["ant/1.png"]
    assert [re.sub(r", such as .*", "", note) for note in found.notes] == [
        "2 leftovers of other programs are left out",
        "1 links to a folder that is there already are not followed",
        "1 files are no photos and are left out",
        "1 photos are in the folder of no class and are left out",
    ]


def test_photos_behind_a_link_count(folder):
    (folder.parent / "elsewhere").mkdir()
    save(folder.parent / "elsewhere" / "2.png")
    (folder / "ant" / "2021").symlink_to(folder.parent / "elsewhere")
    assert list(find_photos(folder, NAMES).paths["ant"]) == ["ant/1.png", "ant/2021/2.png"]

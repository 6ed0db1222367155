"""What is below a folder: links followed, loops named, leftovers set apart."""

import os

from drmn.io.content import stats_below
from drmn.io.folders import composed, walk


def names(paths, folder):
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_link_to_a_folder_is_followed(tmp_path):
    touch(tmp_path / "a" / "1.jpg", tmp_path / "elsewhere" / "deep" / "2.jpg")
    (tmp_path / "a" / "more").symlink_to(tmp_path / "elsewhere")
    found = walk(tmp_path / "a")
    assert names(found.files, tmp_path / "a") == ["1.jpg", "more/deep/2.jpg"]
    assert found.loops == []


def test_a_loop_is_named_and_each_folder_is_entered_once(tmp_path):
    touch(tmp_path / "a" / "b" / "1.jpg", tmp_path / "c" / "2.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "b" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "twice").symlink_to(tmp_path / "a" / "b")
    found = walk(tmp_path / "a")
    assert names(found.files, tmp_path / "a") == ["b/1.jpg"]
    assert names(found.loops, tmp_path / "a") == ["b/self", "twice", "up"]


def test_leftovers_are_set_apart(tmp_path):
    left = ["._1.jpg", ".DS_Store", "Thumbs.db", "@eaDir", "__MACOSX", ".ipynb_checkpoints"]
    touch(tmp_path / "1.jpg", *(tmp_path / name for name in left[:3]))
    touch(*(tmp_path / name / "1.jpg" for name in left[3:]))
    found = walk(tmp_path)
    assert names(found.files, tmp_path) == ["1.jpg"]
    assert names(found.leftovers, tmp_path) == sorted(left)


def test_a_change_behind_a_link_changes_the_digest_of_a_folder(tmp_path):
    touch(tmp_path / "data" / "1.jpg", tmp_path / "elsewhere" / "2.jpg")
    (tmp_path / "data" / "more").symlink_to(tmp_path / "elsewhere")
    before = stats_below(tmp_path / "data", 10)
    os.utime(tmp_path / "elsewhere" / "2.jpg", (1, 1))
    assert stats_below(tmp_path / "data", 10) != before


def test_both_forms_of_an_accent_are_one_name():
    assert composed("e\u0301") == "\u00e9"

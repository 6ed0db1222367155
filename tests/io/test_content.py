"""What is there and whole is known by content; SQLite's rows by what they hold."""

import sqlite3
from contextlib import closing

import pytest

from drmn.io.content import is_made, note_made, rows_of, stats_below

OF = {"checkpoint": "abc"}


@pytest.fixture
def package(tmp_path):
    """Return a folder with two files and a note of what it was made of."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "about.json").write_text("{}")
    (folder / "weights").write_bytes(b"0123")
    note_made(folder, OF)
    return folder


def test_a_folder_as_it_was_made_is_whole_for_what_it_was_made_of_alone(package):
    assert is_made(package, OF)
    assert not is_made(package, {"checkpoint": "another"})


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "weights").write_bytes(b"0124"),
        lambda folder: (folder / "weights").unlink(),
        lambda folder: (folder / "more").write_text(""),
        lambda folder: folder.with_name(".package.made").write_text("{"),
        lambda folder: folder.with_name(".package.made").unlink(),
    ],
    ids=["a byte", "a file less", "a file more", "note damaged", "note lost"],
)
def test_a_folder_that_was_changed_since_is_not_whole(package, damage):
    damage(package)
    assert not is_made(package, OF)


def test_an_empty_folder_was_never_made(tmp_path):
    (tmp_path / "empty").mkdir()
    note_made(tmp_path / "empty", OF)
    assert not is_made(tmp_path / "empty", OF)


def rows(path, *statements):
    with closing(sqlite3.connect(path)) as opened, opened:
        for statement in statements:
            opened.execute(statement)


def test_rows_are_compared_and_not_the_bytes_of_their_file(tmp_path):
    made = "CREATE TABLE runs (id TEXT, state TEXT)", "INSERT INTO runs VALUES ('a', 'on')"
    rows(tmp_path / "one.db", *made, "INSERT INTO runs VALUES ('b', 'on')")
    before = rows_of(tmp_path / "one.db")
    rows(tmp_path / "one.db", "CREATE TABLE gone (id)", "DROP TABLE gone", "PRAGMA user_version=7")
    assert rows_of(tmp_path / "one.db") == before
    ours = rows_of(tmp_path / "one.db", ["runs"], {"a"})
    rows(tmp_path / "one.db", "UPDATE runs SET state = 'off' WHERE id = 'b'")
    assert rows_of(tmp_path / "one.db") != before
    assert rows_of(tmp_path / "one.db", ["runs"], {"a"}) == ours


def test_a_database_that_cannot_be_read_has_no_digest(tmp_path):
    (tmp_path / "no.db").write_text("no database at all, for sure")
    assert rows_of(tmp_path / "no.db") == rows_of(tmp_path / "none.db") == ""


def test_a_file_of_another_time_or_one_more_changes_what_a_folder_looks_like(tmp_path):
    (tmp_path / "a").write_text("1")
    before = stats_below(tmp_path, 10)
    assert stats_below(tmp_path, 10) == before != ""
    (tmp_path / "b").write_text("1")
    assert stats_below(tmp_path, 10) != before
    assert stats_below(tmp_path, 1) == ""

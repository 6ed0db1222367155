"""A machine's own copy of a feature store: brought once, whole, and again where it was damaged."""

import multiprocessing
import shutil

import pytest

from drmn.data.store import local_copy
from drmn.data.store.feature_store import USED
from drmn.errors import DataError


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return where this machine keeps copies."""
    monkeypatch.setenv(local_copy.SCRATCH, str(tmp_path))
    return tmp_path / "features"


def files(folder):
    return {f.name: f.read_bytes() for f in folder.iterdir() if f.name != USED}


def halve(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_without_a_disk_of_its_own_a_machine_reads_what_all_share(toy_store, monkeypatch):
    monkeypatch.delenv(local_copy.SCRATCH, raising=False)
    assert local_copy.local_copy(toy_store) == toy_store


def test_a_copy_is_the_store_and_is_made_once(toy_store, own):
    place = local_copy.local_copy(toy_store)
    assert place.parent == own
    assert files(place) == files(toy_store)
    made = place.stat().st_ino
    assert local_copy.local_copy(toy_store) == place
    assert place.stat().st_ino == made


def inode(store):
    return local_copy.local_copy(store).stat().st_ino


def test_processes_that_want_it_at_once_make_one_copy(toy_store, own):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert len(set(pool.map(inode, [toy_store] * 3))) == 1
    assert [f.name for f in own.iterdir() if f.name != ".locks"] == [toy_store.name]


@pytest.mark.usefixtures("own")
def test_a_damaged_copy_is_brought_again(toy_store, monkeypatch):
    place = local_copy.local_copy(toy_store)
    halve(place / "level-16.arrow")
    monkeypatch.setattr(local_copy, "_KNOWN", set())  # another process
    assert files(local_copy.local_copy(toy_store)) == files(toy_store)


def test_a_damaged_store_is_not_taken_for_its_copy(toy_store, own, tmp_path):
    shared = tmp_path / "shared" / toy_store.name
    shutil.copytree(toy_store, shared)
    halve(shared / "level-32.arrow")
    with pytest.raises(DataError, match=r"level-32.arrow, shard 0.* run jobs/prepare.py"):
        local_copy.local_copy(shared)
    assert not (own / toy_store.name).exists()


@pytest.mark.usefixtures("own")
def test_where_a_copy_finds_no_room_the_store_itself_is_read(toy_store, monkeypatch, caplog):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    assert local_copy.local_copy(toy_store) == toy_store
    assert "no room for a copy" in caplog.text


def test_copies_used_longest_ago_make_room(toy_store, own, tmp_path, monkeypatch):
    older = tmp_path / "shared" / "older"
    shutil.copytree(toy_store, older)
    place = local_copy.local_copy(older)
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda _: shutil._ntuple_diskusage(1, 1, 0 if place.exists() else 10**9),
    )
    assert local_copy.local_copy(toy_store) == own / toy_store.name
    assert not place.exists()

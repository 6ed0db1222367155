"""Building a store: it goes on where it stopped, is made once, and is never half of one."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import get_context

import pytest
import torch
from feature_stores import (
    IMAGES_OF_PLAN,
    KEY,
    PLAN,
    SHAPES,
    catalogue,
    filling,
    random_maps,
    same_bits,
)
from mounts import disk
from paths import ROOT

from drmn.data.store import feature_store, integrity
from drmn.data.store import layout as plan
from drmn.data.store.build import build
from drmn.data.store.layout import StoreLayout
from drmn.data.store.partial_store import journal
from drmn.errors import DataError

SHARDS = 6
BUILDING = f".{KEY.folder}.building"


def files(folder):
    return {f.name: f.read_bytes() for f in folder.iterdir() if f.name != "used"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return files(build(tmp_path_factory.mktemp("whole"), PLAN, filling()))


def test_a_shard_is_some_megabytes_of_all_levels_together():
    sizes = {
        "small": {32: (1, 4)},
        "lite": {16: (49, 112), 32: (49, 320)},
        "full": {32: (196, 2048)},
    }
    rows = {name: replace(PLAN, shapes=shapes).per_shard for name, shapes in sizes.items()}
    assert rows == {"small": 1024, "lite": 792, "full": 41}


@pytest.mark.parametrize("end", [KeyboardInterrupt, DataError, RuntimeError])
def test_a_build_that_breaks_off_goes_on_where_it_stopped(tmp_path, undisturbed, end):
    asked = []
    with pytest.raises(end):
        build(tmp_path, PLAN, filling(asked, ends_after=2, end=end))
    assert not (tmp_path / KEY.folder).exists()
    assert files(build(tmp_path, PLAN, filling(asked))) == undisturbed
    assert asked == [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5]]
    assert [f.name for f in tmp_path.iterdir() if f.name != ".locks"] == [KEY.folder]


def test_shards_may_come_in_any_order(tmp_path, undisturbed):
    def fill(spans):
        yield from reversed(list(filling()(spans)))

    assert files(build(tmp_path, PLAN, fill)) == undisturbed


def test_what_the_journal_claims_is_believed_only_where_the_bytes_agree(tmp_path, undisturbed):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, PLAN, filling(ends_after=3))
    with (tmp_path / BUILDING / "level-8.arrow").open("rb+") as file:
        file.seek(3000)  # in the first shard
        file.write(b"\xff" * 8)
    with (tmp_path / BUILDING / "journal.jsonl").open("a") as file:
        file.write('{"shard": 4, "dige')  # power was lost
    asked = []
    assert files(build(tmp_path, PLAN, filling(asked))) == undisturbed
    assert asked == [[0, 3, 4, 5]]


def test_a_journal_of_another_version_is_not_believed(tmp_path, undisturbed, monkeypatch):
    """Shards of another size, a shard that there is not, a level that is not spoken of."""
    monkeypatch.setattr(plan, "SHARD_BYTES", 500 * PLAN.row_bytes)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, PLAN, filling(ends_after=3))
    monkeypatch.undo()
    with (tmp_path / BUILDING / "journal.jsonl").open("a") as file:
        file.write('{"shard": 99, "digests": {}}\n{"shard": 0, "digests": {"8": ""}}\n')
    asked = []
    assert files(build(tmp_path, PLAN, filling(asked))) == undisturbed
    assert asked == [[*range(SHARDS)]]


def test_a_level_file_that_was_lost_is_laid_out_again(tmp_path, undisturbed):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, PLAN, filling(ends_after=3))
    file = tmp_path / BUILDING / "level-16.arrow"
    file.write_bytes(file.read_bytes()[:5000])
    assert files(build(tmp_path, PLAN, filling())) == undisturbed


def test_a_store_that_is_there_is_not_filled_again(tmp_path):
    place = build(tmp_path, PLAN, filling())
    before = {f: f.stat().st_mtime_ns for f in place.iterdir()}
    asked = []
    assert build(tmp_path, PLAN, filling(asked)) == place
    assert asked == []
    assert {f: f.stat().st_mtime_ns for f in place.iterdir()} == before


def test_of_a_damaged_store_the_damaged_shards_alone_are_made_again(tmp_path, undisturbed):
    place = build(tmp_path, PLAN, filling())
    for name, where in (("level-8.arrow", 3000), ("level-16.arrow", -3000)):
        with (place / name).open("rb+") as file:
            file.seek(where, os.SEEK_END if where < 0 else os.SEEK_SET)
            file.write(b"\xff" * 8)
    assert integrity.check(place).damage == ("level-8.arrow, shard 0", "level-16.arrow, shard 4")
    asked = []
    assert files(build(tmp_path, PLAN, filling(asked))) == undisturbed
    assert asked == [[0, 4]]


def test_a_store_that_is_mended_stays_for_those_who_have_it_open(tmp_path):
    place = build(tmp_path, PLAN, filling())
    level = feature_store.read(place).levels[8]
    with (place / "level-16.arrow").open("rb+") as file:
        file.seek(3000)
        file.write(b"\xff" * 8)
    assert build(tmp_path, PLAN, filling()) == place
    rows = level.rows(torch.arange(IMAGES_OF_PLAN))  # read for the first time after it was mended
    same_bits(rows, random_maps(IMAGES_OF_PLAN)[8].to(torch.bfloat16))
    assert [f.name for f in tmp_path.iterdir() if f.name != ".locks"] == [KEY.folder]


@pytest.mark.parametrize("name", ["manifest.json", "images.parquet", "level-16.arrow"])
def test_a_store_that_lost_a_file_is_whole_again(tmp_path, undisturbed, name):
    place = build(tmp_path, PLAN, filling())
    (place / name).unlink()
    assert files(build(tmp_path, PLAN, filling())) == undisturbed


def test_a_damaged_table_costs_no_extraction(tmp_path, undisturbed):
    place = build(tmp_path, PLAN, filling())
    (place / "classes.parquet").write_bytes(b"PAR1")
    asked = []
    assert files(build(tmp_path, PLAN, filling(asked))) == undisturbed
    assert asked == []


def test_a_folder_of_something_else_is_not_written_over(tmp_path):
    thesis = tmp_path / KEY.folder / "thesis.tex"
    thesis.parent.mkdir()
    thesis.write_text("mine")
    with pytest.raises(DataError, match="not a feature store, but in the place of one"):
        build(tmp_path, PLAN, filling())
    assert thesis.read_text() == "mine"


def test_a_file_in_the_place_of_a_store_is_told_before_anything_is_done(tmp_path):
    (tmp_path / KEY.folder).write_text("mine")
    asked = []
    with pytest.raises(DataError, match="not a feature store, but in the place of one"):
        build(tmp_path, PLAN, filling(asked))
    assert asked == []


def test_maps_of_another_shape_make_no_store(tmp_path):
    def fill(spans):
        yield 0, {s: torch.zeros(spans[0].stop + 1, *shape) for s, shape in SHAPES.items()}

    with pytest.raises(ValueError, match=r"level 8: .* for shard 0"):
        build(tmp_path, PLAN, fill)
    assert not (tmp_path / KEY.folder).exists()


def test_too_few_shards_make_no_store(tmp_path):
    def fill(spans):
        yield from list(filling()(spans))[:-1]

    with pytest.raises(ValueError, match="5 of 6 shards"):
        build(tmp_path, PLAN, fill)
    assert not (tmp_path / KEY.folder).exists()


def test_a_store_larger_than_the_disk_is_refused_before_anything_is_done(tmp_path):
    huge = replace(PLAN, shapes={32: (10**6, 10**4)})  # 20 GB an image
    asked = []
    message = r"the features need 102460\.0 GB and .* GB are free; make room .*--maps pooled"
    with pytest.raises(DataError, match=message):
        build(tmp_path, huge, filling(asked))
    assert asked == []


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a disk of two megabytes."""
    with disk(tmp_path / "disk", "size=2m") as small:
        yield small


def test_a_disk_that_fills_up_loses_nothing_that_was_done(small_disk, undisturbed):
    """The maps themselves fit, so it begins; then somebody else fills the disk."""
    thief, maps = small_disk / "thief", filling()

    def fill(spans):
        for number, shard in enumerate(maps(spans)):
            if number == 2:
                with pytest.raises(OSError, match="No space left"):
                    thief.write_bytes(bytes(2 << 20))
            yield shard

    with pytest.raises(DataError, match=r"the disk is full; 2 of 6 shards are kept"):
        build(small_disk, PLAN, fill)
    thief.unlink()
    asked = []
    assert files(build(small_disk, PLAN, filling(asked))) == undisturbed
    assert asked == [[2, 3, 4, 5]]


# Several processes.

SLOW = """
import sys, time
sys.path.insert(0, {path!r})
from feature_stores import PLAN, filling
from drmn.data.store.build import build
def slowly(spans):
    for shard in filling()(spans):
        yield shard
        time.sleep(0.15)
        print(shard[0], flush=True)
build({root!r}, PLAN, slowly)
"""


@pytest.mark.parametrize("shards", [0, 1, 3, 5])
def test_kill_9_at_any_time_leaves_nothing_that_looks_whole(tmp_path, undisturbed, shards):
    code = SLOW.replace("{root!r}", f"__import__('pathlib').Path({str(tmp_path)!r})")
    code = code.replace("{path!r}", repr(str(ROOT / "tests")))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    for _ in range(shards):
        process.stdout.readline()
    if not shards:
        while not (tmp_path / BUILDING).is_dir():
            time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / KEY.folder).exists()
    with pytest.raises(DataError, match="No feature store at"):
        feature_store.read(tmp_path / KEY.folder)
    done = journal(tmp_path / BUILDING)
    asked = []
    assert files(build(tmp_path, PLAN, filling(asked))) == undisturbed
    # It may have been killed between its last shard and the end: then nothing is left to do.
    assert sum(map(len, asked)) == SHARDS - len(done) <= SHARDS - shards


def build_and_count(root, barrier, results):
    asked = []
    barrier.wait()
    place = build(root, PLAN, filling(asked), waiting=lambda who: asked.append(f"waits for {who}"))
    results.put((os.getpid(), str(place), asked))


def test_two_builders_at_once_make_one_store(tmp_path, undisturbed):
    processes = get_context("spawn")
    barrier, results = processes.Barrier(2), processes.Queue()
    both = [
        processes.Process(target=build_and_count, args=(tmp_path, barrier, results))
        for _ in range(2)
    ]
    for process in both:
        process.start()
    told = [results.get(timeout=120) for _ in both]
    for process in both:
        process.join()
    assert {place for _, place, _ in told} == {str(tmp_path / KEY.folder)}
    filled = [asked for _, _, asked in told if [*range(SHARDS)] in asked]
    assert len(filled) == 1  # one did all of it, the other waited and took it
    assert files(tmp_path / KEY.folder) == undisturbed


def test_the_one_that_waits_takes_over_from_one_that_dies(tmp_path, undisturbed):
    code = SLOW.replace("{root!r}", f"__import__('pathlib').Path({str(tmp_path)!r})")
    code = code.replace("{path!r}", repr(str(ROOT / "tests")))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    told = []

    def waiting(who):
        told.append(int(who))
        process.kill()

    place = build(tmp_path, PLAN, filling(), waiting=waiting)
    process.wait()
    assert told == [process.pid]
    assert files(place) == undisturbed


def test_views_are_rows_after_the_plain_ones(tmp_path):
    key = replace(KEY, views=2)
    maps = random_maps(3 * 5)
    plan = StoreLayout(key=key, catalogue=catalogue(5), shapes=SHAPES)
    assert plan.rows == 15

    def fill(spans):
        for span in spans:
            yield span.shard, {s: level[span.start : span.stop] for s, level in maps.items()}

    store = feature_store.read(build(tmp_path, plan, fill))
    manifest = json.loads((store.folder / "manifest.json").read_text())
    assert (manifest["images"], manifest["rows"]) == (5, 15)
    view_2_of_3 = torch.tensor([2 * 5 + 3])
    same_bits(store.levels[8].rows(view_2_of_3), maps[8][view_2_of_3].to(torch.bfloat16))


def test_the_folder_in_the_making_cannot_be_taken_for_a_store(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, PLAN, filling(ends_after=5))
    with pytest.raises(DataError, match=re.escape(f"No feature store at {tmp_path / BUILDING}")):
        feature_store.read(tmp_path / BUILDING)

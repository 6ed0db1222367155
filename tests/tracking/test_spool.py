"""The durable queue."""

import sqlite3
import subprocess
import sys
from contextlib import nullcontext

import pytest

from drmn.tracking.spool import Spool

WRITER = """
import os, sys
from pathlib import Path
from drmn.tracking.spool import Spool
spool = Spool(Path(sys.argv[1]))
for i in range(10**6):
    spool.put(f"event {i}", {"run": "r", "kind": "metrics", "number": i})
    print(i, flush=True)
"""


def test_events_come_out_in_order_and_once(tmp_path):
    spool = Spool(tmp_path / "spool.db")
    for key in ("a", "b", "a", "c"):
        spool.put(key, {"key": key})
    numbers, events = zip(*spool.waiting(), strict=True)
    assert [event["key"] for event in events] == ["a", "b", "c"]
    spool.shipped(list(numbers[:2]), {})
    assert [event["key"] for _, event in spool.waiting()] == ["c"]


def ship(spool, runs=()):
    spool.shipped([number for number, _ in spool.waiting()], dict(runs))


def test_what_was_shipped_is_not_taken_again_when_told_again(tmp_path):
    spool = Spool(tmp_path / "spool.db")
    spool.put("a", {})
    ship(spool, {"a": "id of a"})
    spool.put("a", {})
    assert spool.count == 0
    assert Spool(spool.path).runs() == {"a": "id of a"}
    spool.clear()
    spool.put("a", {})
    assert (spool.count, spool.runs()) == (1, {})


def test_a_spool_is_a_queue_and_no_archive(tmp_path):
    spool = Spool(tmp_path / "spool.db")
    pages = []
    for round_ in range(6):
        with spool.together():
            for number in range(200):
                spool.put(f"{round_}/{number}", {"content": "x" * 2000})
        ship(spool)
        assert spool.count == 0
        pages.append(sqlite3.connect(spool.path).execute("PRAGMA page_count").fetchone()[0])
    assert pages[-1] < 1.3 * pages[0]  # keys stay, what they stood for does not


@pytest.mark.parametrize("together", [False, True])
def test_a_full_spool_takes_no_more_and_stops_nobody(tmp_path, together):
    spool = Spool(tmp_path / "spool.db", most_bytes=100_000)
    with spool.together() if together else nullcontext():
        for number in range(200):
            spool.put(f"{number}", {"content": "x" * 1000})
    assert 50 < spool.missed <= 200
    assert spool.count == 200 - spool.missed
    assert spool.path.stat().st_size <= 100_000
    ship(spool)
    spool.put("later", {})  # there is room again
    assert spool.count == 1


def test_a_writer_killed_at_any_moment_loses_nothing_that_it_acknowledged(tmp_path):
    path = tmp_path / "spool.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as writer:
        acknowledged = [int(writer.stdout.readline()) for _ in range(200)][-1]
        writer.kill()
    numbers = [event["number"] for _, event in Spool(path).waiting(10_000)]
    assert numbers[: acknowledged + 1] == list(range(acknowledged + 1))
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)

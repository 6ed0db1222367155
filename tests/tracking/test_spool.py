"""The durable queue."""

import sqlite3
import subprocess
import sys

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
    spool.shipped(list(numbers[:2]))
    assert [event["key"] for _, event in spool.waiting()] == ["c"]


def test_what_was_shipped_is_not_taken_again_when_told_again(tmp_path):
    spool = Spool(tmp_path / "spool.db")
    spool.put("a", {})
    spool.shipped([spool.waiting()[0][0]])
    spool.put("a", {})
    assert spool.count == 0
    spool.again()
    assert spool.count == 1


def test_a_writer_killed_at_any_moment_loses_nothing_that_it_acknowledged(tmp_path):
    path = tmp_path / "spool.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as writer:
        acknowledged = [int(writer.stdout.readline()) for _ in range(200)][-1]
        writer.kill()
    numbers = [event["number"] for _, event in Spool(path).waiting(10_000)]
    assert numbers[: acknowledged + 1] == list(range(acknowledged + 1))
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)

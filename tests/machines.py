"""Searches over several machines: what tests wait for."""

import contextlib
import sqlite3
import time

import pytest


def began(record):
    """Return the trials that have an epoch and are not over, while a driver writes."""
    query = (
        "SELECT DISTINCT number FROM trials JOIN trial_intermediate_values USING (trial_id)"
        " WHERE state = 'RUNNING'"
    )
    with contextlib.suppress(sqlite3.OperationalError):  # not made yet, or being written
        database = sqlite3.connect(f"file:{record}?mode=ro", uri=True)
        return {number for (number,) in database.execute(query)}
    return set()


def until(happened, job, seconds=240):
    for _ in range(seconds * 5):
        if found := happened():
            return found
        assert job.poll() is None, "the job ended too early"
        time.sleep(0.2)
    return pytest.fail("waited in vain")


def eventually(happened, what, seconds=150):
    """Wait until something has happened, however busy the machine is."""
    for _ in range(seconds):
        if happened():
            return
        time.sleep(1)
    pytest.fail(f"waited in vain for {what}")

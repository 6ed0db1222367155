"""How far a piece of work is: its rate and the time left are shown, bar or no bar."""

import re
from io import StringIO

import pytest
from rich.console import Console

from drmn.report import progress as shown


@pytest.fixture
def clock(monkeypatch):
    """Return a list whose only item is the time, in seconds."""
    now = [100.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    return now


def lines(clock, *steps):
    console = Console(file=StringIO(), force_terminal=False, width=120)
    with shown.progress(console) as told:
        hear = told("images")
        for seconds, done in steps:
            clock[0] = 100.0 + seconds
            hear(done, 1000)
    return console.file.getvalue().splitlines()


def test_without_a_terminal_a_line_tells_rate_and_time_left(clock):
    # 400 images in 8 s are 50/s, so 600 more take 12 s.
    said = lines(clock, (0, 0), (8, 400), (20, 1000))
    assert said == ["images: 400 of 1,000, 50.0/s, 12 s left", "images: 1,000 of 1,000, 50.0/s"]


def test_what_was_remembered_says_nothing_of_the_rate(clock):
    # 200 were there before; 200 more in 10 s are 20/s, so 600 more take 30 s.
    assert lines(clock, (0, 200), (10, 400)) == ["images: 400 of 1,000, 20.0/s, 30 s left"]


def test_work_of_three_seconds_needs_no_word(clock):
    assert lines(clock, (0, 0), (2.9, 1000)) == []


def test_on_a_terminal_a_bar_shows_count_rate_and_time_left(monkeypatch):
    console = Console(file=StringIO(), force_terminal=True, width=120, color_system=None)
    now = [0.0]
    monkeypatch.setattr(console, "get_time", lambda: now[0])
    with shown.progress(console) as told:
        hear = told("images")
        for second in range(11):
            now[0] = float(second)
            hear(40 * second, 1000)
    text = console.file.getvalue()
    assert "400/1000" in text
    assert re.search(r"\b40/s", text)
    assert "0:00:15" in text  # 600 more at 40 a second
